/**
 * Python's `multiprocessing` for TypeScript: everything from one import.
 *
 * @module
 */
export * from "@multiproc/core";
export * from "@multiproc/pipe";
export * from "@multiproc/pool";
export * from "@multiproc/process";
export * from "@multiproc/queue";
export * from "@multiproc/shared-memory";
export {
  type ExecOptions,
  exec,
  type ForkserverKind,
  fork,
  forkserverKind,
  getAllStartMethods,
  getStartMethod,
  type StartMethod,
  StartMethodError,
  setExecutable,
  setForkserverPreload,
  setStartMethod,
  waitpid,
} from "@multiproc/start-methods";
export * from "@multiproc/sync";
export { type Context, getContext } from "./context.ts";
