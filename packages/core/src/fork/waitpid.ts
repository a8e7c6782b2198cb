/** Reaps children with `waitpid()`. */
import type { ExitStatus } from "../host/host.ts";
import { WNOHANG } from "../native/linux.ts";
import type { Native } from "../native/native.ts";

const statusOut = new Int32Array(1);
const signalNames = new Map<number, string>();
for (const [name, signalNumber] of Object.entries(process.getBuiltinModule("node:os").constants.signals)) {
  // Some numbers also have an old name, which comes later: SIGIOT, SIGPOLL.
  if (!signalNames.has(signalNumber)) signalNames.set(signalNumber, name);
}

/**
 * Returns the exit status of a child; undefined while it runs. Reaps only this child, because Node
 * reaps others.
 */
export function reap(native: Native, pid: number): ExitStatus | undefined {
  return native.libc.waitpid(pid, statusOut, WNOHANG) === pid ? exitStatus(statusOut[0] as number) : undefined;
}

/**
 * Blocks until a child ends, and returns its exit status. Call it only for a child that is already
 * ending.
 */
export function reapNow(native: Native, pid: number): ExitStatus {
  native.libc.waitpid(pid, statusOut, 0);
  return exitStatus(statusOut[0] as number);
}

/** Decodes the status of `waitpid()`, as `<sys/wait.h>` does. */
function exitStatus(waitStatus: number): ExitStatus {
  const signal = waitStatus & 0x7f;
  if (signal === 0) return { code: (waitStatus >> 8) & 0xff, signal: null };
  return { code: null, signal: signalNames.get(signal) ?? `SIG${signal}` };
}
