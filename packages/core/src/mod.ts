/**
 * The base of multiproc: functions and classes that other processes find, the errors, and the
 * number of CPUs.
 *
 * Processes and pools run a *target*: a function that another process can find. {@link task} marks
 * an exported function with its module. {@link fromModule} names the exports of a module without
 * loading it. {@link inline} sends the source text of a small self-contained function.
 *
 * @module
 */

export {
  CapabilityError,
  ChannelClosedError,
  ProcessError,
  ProtocolError,
  SendError,
  StartError,
  TargetError,
  TimeoutError,
} from "./errors.ts";
export type { Permissions, Stdio } from "./host/host.ts";
export type { ChildOutput, OutputReader } from "./runtime/child-output.ts";
export type { WaitOptions } from "./runtime/wait-options.ts";
export { cpuCount } from "./system/cpu-count.ts";
export {
  type AnyFunction,
  fromModule,
  inline,
  type ModuleTargets,
  registerClass,
  type Target,
  task,
} from "./targets/target.ts";
