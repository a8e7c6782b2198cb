/**
 * The events that a pool publishes on `node:diagnostics_channel`, for tracing tools:
 *
 * - `multiproc:pool:worker:start` and `:end`: `{ pool, worker, name }`, and at the end
 *   `{ exitCode, signal }`
 * - `multiproc:pool:task:start`, `:end` and `:error`: `{ pool, task, worker, items, trace }`. At
 *   the end, the same object is published again, with `ms` or `error`. A chunk is one task of
 *   several items.
 *
 * `pool` is the option `name`, `worker` is a process id or thread id, and `task` names the
 * function. Without subscribers, events cost nothing: they are not created.
 */
import { type DiagnosticsChannel, host } from "@multiproc/core/internal";

const channel = (name: string): DiagnosticsChannel => host.diagnosticsChannel(`multiproc:pool:${name}`);

/** The diagnostics channels of a pool. */
export class PoolEvents {
  readonly workerStart: DiagnosticsChannel = channel("worker:start");
  readonly workerEnd: DiagnosticsChannel = channel("worker:end");
  readonly taskStart: DiagnosticsChannel = channel("task:start");
  readonly taskEnd: DiagnosticsChannel = channel("task:end");
  readonly taskError: DiagnosticsChannel = channel("task:error");
}
