/**
 * What every part of multiproc shares: naming functions and classes across processes, the errors, and the count of CPUs.
 *
 * A process is given a *target*: a function that the other process can find. {@link task} marks an exported function with
 * its module, {@link fromModule} names the exports of a module that is not loaded here, and {@link inline} carries the source
 * text of a small self-contained function.
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
