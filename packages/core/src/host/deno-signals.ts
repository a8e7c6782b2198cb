/** The numbers of signals, which Deno does not reveal. */

/** The names of signals on Linux, in the order of their numbers. */
const SIGNALS =
  "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS".split(
    " ",
  );
/** The numbers that differ on macOS. */
const DARWIN_SIGNALS: Readonly<Record<string, number>> = {
  BUS: 10,
  SYS: 12,
  URG: 16,
  STOP: 17,
  TSTP: 18,
  CONT: 19,
  CHLD: 20,
  IO: 23,
  USR1: 30,
  USR2: 31,
};

/** Returns the number of a signal, such as 9 for `"SIGKILL"`; 0 if it is unknown. */
export function denoSignalNumber(signal: string, os: string): number {
  const name = signal.replace("SIG", "");
  const darwin = os === "darwin" ? DARWIN_SIGNALS[name] : undefined;
  return darwin ?? (SIGNALS.indexOf(name) + 1 || Number(signal) || 0);
}
