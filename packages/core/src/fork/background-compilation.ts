/**
 * Pauses V8's background compilation during a fork.
 *
 * A compile job runs in another thread. If the fork copies a half-done job, the child waits forever
 * for a thread that it does not have.
 */
const v8 = process.getBuiltinModule("node:v8");

/** Concurrent baseline compilation (Sparkplug) is on by default since V8 13, in Node 24. */
const isBeforeNode24 = Number.parseInt(process.versions.node, 10) < 24;
const FLAGS = isBeforeNode24 ? ["concurrent-recompilation"] : ["concurrent-recompilation", "concurrent-sparkplug"];
const givenFlags = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? "").split(/\s+/)].map((flag) =>
  flag.replaceAll("_", "-"),
);
/** Whether the user has turned off background compilation, which then stays off. */
const isDisabledByUser = ["--single-threaded", "--predictable", "--jitless"].some((flag) => givenFlags.includes(flag));
const pausedFlags = isDisabledByUser ? [] : FLAGS.filter((flag) => !givenFlags.includes(`--no-${flag}`));

/** Makes V8 start no new compile jobs. */
export function pauseCompilation(): void {
  for (const flag of pausedFlags) v8.setFlagsFromString(`--no-${flag}`);
}

/** Lets V8 start compile jobs again. */
export function resumeCompilation(): void {
  for (const flag of pausedFlags) v8.setFlagsFromString(`--${flag}`);
}
