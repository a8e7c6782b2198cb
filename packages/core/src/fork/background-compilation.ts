/**
 * The compilation of JavaScript in the background, which a fork pauses: a job under way keeps a thread awake, and one that
 * was copied half done would keep the child waiting for a thread that it has not.
 */
const v8 = process.getBuiltinModule("node:v8");

/** Concurrent baseline compilation is on by default from V8 13 on, that of Node 24. */
const isBeforeNode24 = Number.parseInt(process.versions.node, 10) < 24;
const FLAGS = isBeforeNode24 ? ["concurrent-recompilation"] : ["concurrent-recompilation", "concurrent-sparkplug"];
const givenFlags = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? "").split(/\s+/)].map((flag) =>
  flag.replaceAll("_", "-"),
);
/** What the user has turned off stays so. */
const isDisabledByUser = ["--single-threaded", "--predictable", "--jitless"].some((flag) => givenFlags.includes(flag));
const pausedFlags = isDisabledByUser ? [] : FLAGS.filter((flag) => !givenFlags.includes(`--no-${flag}`));

/** Starts no new jobs. */
export function pauseCompilation(): void {
  for (const flag of pausedFlags) v8.setFlagsFromString(`--no-${flag}`);
}

/** Starts jobs again. */
export function resumeCompilation(): void {
  for (const flag of pausedFlags) v8.setFlagsFromString(`--${flag}`);
}
