/**
 * Checks of the options of pools and of their calls. An error names the call and shows what to
 * write.
 *
 * Constructors throw these errors; calls that return a promise reject with them.
 */
import type { AnyFunction } from "@multiproc/core";
import {
  checkOptions,
  checkTimeout,
  checkTimeoutAndSignal,
  describeValue,
  requireTarget,
} from "@multiproc/core/internal";
import type { ImapOptions, MapOptions, PoolOptions, TaskOptions } from "./options.ts";

/** Options that a `ThreadPool` does not take, because its workers are not processes. */
const PROCESS_OPTIONS = ["startMethod", "env", "execArgv", "permissions", "maxMemoryPerChild", "output"];
const THREAD_POOL_OPTIONS = [
  "processes",
  "initializer",
  "initArgs",
  "finalizer",
  "maxTasksPerChild",
  "gracePeriod",
  "traceContext",
  "name",
];
const POOL_OPTIONS = [...THREAD_POOL_OPTIONS, ...PROCESS_OPTIONS];
/**
 * Names of the same options in other pools: piscina, workerpool, poolifier, p-limit, Python's
 * executors.
 */
const POOL_SYNONYMS = {
  workers: "processes",
  concurrency: "processes",
  size: "processes",
  poolSize: "processes",
  threads: "processes",
  maxWorkers: "processes",
  minWorkers: "processes",
  numWorkers: "processes",
  workerCount: "processes",
  maxThreads: "processes",
  minThreads: "processes",
  maxProcesses: "processes",
  numProcesses: "processes",
  nproc: "processes",
  init: "initializer",
  args: "initArgs",
  initializerArgs: "initArgs",
  onExit: "finalizer",
  maxTasks: "maxTasksPerChild",
  maxTasksPerWorker: "maxTasksPerChild",
  maxMemory: "maxMemoryPerChild",
  memoryLimit: "maxMemoryPerChild",
  maxMemoryPerWorker: "maxMemoryPerChild",
  graceMs: "gracePeriod",
  grace: "gracePeriod",
  killTimeout: "gracePeriod",
  stdio: "output",
  context: "startMethod",
  method: "startMethod",
};

const TASK_OPTIONS = ["timeout", "signal", "retries", "traceContext"];
const MAP_OPTIONS = ["chunkSize", "settle", "onProgress", ...TASK_OPTIONS];
const IMAP_OPTIONS = ["chunkSize", "bufferSize", ...TASK_OPTIONS];
const TASK_SYNONYMS = {
  ms: "timeout",
  timeoutMs: "timeout",
  deadline: "timeout",
  abortSignal: "signal",
  abort: "signal",
  controller: "signal",
  retry: "retries",
  attempts: "retries",
  maxRetries: "retries",
  trace: "traceContext",
  traceparent: "traceContext",
};
const CHUNK_SYNONYMS = { batch: "chunkSize", batchSize: "chunkSize", chunk: "chunkSize", ...TASK_SYNONYMS };
const MAP_SYNONYMS = { settled: "settle", allSettled: "settle", progress: "onProgress", ...CHUNK_SYNONYMS };
const IMAP_SYNONYMS = {
  buffer: "bufferSize",
  prefetch: "bufferSize",
  highWaterMark: "bufferSize",
  ...CHUNK_SYNONYMS,
};
const APPLY = { known: TASK_OPTIONS, synonyms: TASK_SYNONYMS };
const MAP = { known: MAP_OPTIONS, synonyms: MAP_SYNONYMS };
const IMAP = { known: IMAP_OPTIONS, synonyms: IMAP_SYNONYMS };
const CALLS: Readonly<Record<CallName, { known: readonly string[]; synonyms: Readonly<Record<string, string>> }>> = {
  "apply()": APPLY,
  "map()": MAP,
  "starmap()": MAP,
  "imap()": IMAP,
  "imapUnordered()": IMAP,
};

/** The name of a call that gives tasks to a pool, as the user writes it. */
export type CallName = "apply()" | "map()" | "starmap()" | "imap()" | "imapUnordered()";

/** The options of all calls. Their values are checked in the same way for every call. */
type CallOptions = MapOptions & ImapOptions;

/**
 * Checks the options of a pool of processes.
 *
 * @param call the constructor as the user writes it
 */
export function checkPoolOptions(call: string, options: unknown): void {
  checkOptions(call, options, POOL_OPTIONS, POOL_SYNONYMS);
  checkValues(call, options as PoolOptions);
}

/** Checks the options of a pool of threads. */
export function checkThreadPoolOptions(call: string, options: unknown): void {
  for (const name of PROCESS_OPTIONS) {
    if (Object(options)[name] === undefined) continue;
    throw new TypeError(
      `${call} does not take the option "${name}": its workers are threads of this process. Use a Pool for that`,
    );
  }
  checkOptions(call, options, THREAD_POOL_OPTIONS, POOL_SYNONYMS);
  checkValues(call, options as PoolOptions);
}

function checkValues(call: string, options: PoolOptions): void {
  const { processes, maxTasksPerChild, maxMemoryPerChild, gracePeriod, initializer, finalizer } = options;
  const { initArgs, name, output, traceContext } = options;
  checkCount(call, "processes", processes, 1);
  checkCount(call, "maxTasksPerChild", maxTasksPerChild, 1);
  checkCount(call, "maxMemoryPerChild", maxMemoryPerChild, 1);
  checkTimeout(`${call} with gracePeriod`, gracePeriod);
  if (initializer !== undefined) requireTarget(initializer as AnyFunction, `${call} with an initializer`);
  if (finalizer !== undefined) requireTarget(finalizer, `${call} with a finalizer`);
  if (initArgs !== undefined && !Array.isArray(initArgs))
    throw new TypeError(`${call} takes initArgs as an array, not ${describeValue(initArgs)}`);
  if (output !== undefined && output !== "inherit" && output !== "prefix" && typeof output !== "function")
    throw new TypeError(`${call} takes "inherit", "prefix" or a function as output, not ${describeValue(output)}`);
  if (name !== undefined && typeof name !== "string")
    throw new TypeError(`${call} takes a string as name, not ${describeValue(name)}`);
  if (traceContext !== undefined && typeof traceContext !== "function")
    throw new TypeError(
      `${call} takes a function that returns a string as traceContext, not ${describeValue(traceContext)}`,
    );
}

/**
 * Checks the options of a call.
 *
 * @param call decides which options are known
 */
export function checkCallOptions(call: CallName, options: TaskOptions): void {
  const { known, synonyms } = CALLS[call];
  checkOptions(call, options, known, synonyms);
  checkTimeoutAndSignal(call, options);
  const { traceContext, chunkSize, bufferSize, retries, settle, onProgress } = options as CallOptions;
  if (traceContext !== undefined && typeof traceContext !== "string")
    throw new TypeError(`${call} takes a string as traceContext, not ${describeValue(traceContext)}`);
  checkCount(call, "chunkSize", chunkSize, 1);
  checkCount(call, "bufferSize", bufferSize, 1);
  checkCount(call, "retries", retries, 0);
  if (settle !== undefined && typeof settle !== "boolean")
    throw new TypeError(`${call} takes true or false as settle, not ${describeValue(settle)}`);
  if (onProgress !== undefined && typeof onProgress !== "function")
    throw new TypeError(`${call} takes a function as onProgress, not ${describeValue(onProgress)}`);
}

/** Checks that an option, if it is given, is a whole number of at least `min`. */
function checkCount(call: string, name: string, count: number | undefined, min: number): void {
  if (count === undefined || (Number.isInteger(count) && count >= min)) return;
  throw new RangeError(`${call} takes a whole number of at least ${min} as ${name}, not ${describeValue(count)}`);
}
