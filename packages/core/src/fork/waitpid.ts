/** How a child has ended, by `waitpid()`. */
import type { ExitStatus } from "../host/host.ts";
import { WNOHANG } from "../native/linux.ts";
import type { Native } from "../native/native.ts";

const statusOut = new Int32Array(1);
const signalNames = new Map<number, string>();
for (const [name, signalNumber] of Object.entries(process.getBuiltinModule("node:os").constants.signals)) {
  // Some numbers have an old name besides, which comes later: SIGIOT, SIGPOLL.
  if (!signalNames.has(signalNumber)) signalNames.set(signalNumber, name);
}

/** How a child of this process has ended; undefined while it runs. Asks for this child only: others may have other parents. */
export function reap(native: Native, pid: number): ExitStatus | undefined {
  return native.libc.waitpid(pid, statusOut, WNOHANG) === pid ? exitStatus(statusOut[0] as number) : undefined;
}

/** Waits, without the event loop, for the end of a child that is about to end. */
export function reapNow(native: Native, pid: number): ExitStatus {
  native.libc.waitpid(pid, statusOut, 0);
  return exitStatus(statusOut[0] as number);
}

/** What `waitpid()` writes, as `<sys/wait.h>` reads it. */
function exitStatus(waitStatus: number): ExitStatus {
  const signal = waitStatus & 0x7f;
  if (signal === 0) return { code: (waitStatus >> 8) & 0xff, signal: null };
  return { code: null, signal: signalNames.get(signal) ?? `SIG${signal}` };
}
