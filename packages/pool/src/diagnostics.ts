/**
 * What a pool tells those who watch the program, over `node:diagnostics_channel`:
 *
 * - `multiproc:pool:worker:start` and `:end`: `{ pool, worker, name }`, and at the end `{ exitCode, signal }`
 * - `multiproc:pool:task:start`, `:end` and `:error`: `{ pool, task, worker, items, trace }`, and at the end `{ ms }` or
 *   `{ error }`; a chunk is one task of several items. The same object is published at start and end
 *
 * Who does not listen pays nothing.
 */
import { type DiagnosticsChannel, host } from "@multiproc/core/internal";

const channel = (name: string): DiagnosticsChannel => host.diagnosticsChannel(`multiproc:pool:${name}`);

/** The channels; made with the first pool. */
export class PoolEvents {
  readonly workerStart: DiagnosticsChannel = channel("worker:start");
  readonly workerEnd: DiagnosticsChannel = channel("worker:end");
  readonly taskStart: DiagnosticsChannel = channel("task:start");
  readonly taskEnd: DiagnosticsChannel = channel("task:end");
  readonly taskError: DiagnosticsChannel = channel("task:error");
}
