/**
 * The compilation of JavaScript in the background, which a fork pauses: a job under way keeps a thread awake, and one that
 * was copied half done would keep the child waiting for a thread that it has not.
 */
const v8 = process.getBuiltinModule("node:v8");

/** Concurrent baseline compilation is on by default from V8 13 on, that of Node 24. */
const isOld = Number.parseInt(process.versions.node, 10) < 24;
const FLAGS = isOld ? ["concurrent-recompilation"] : ["concurrent-recompilation", "concurrent-sparkplug"];
const given = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? "").split(/\s+/)].map((flag) =>
  flag.replaceAll("_", "-"),
);
/** What the user has turned off stays so. */
const off = ["--single-threaded", "--predictable", "--jitless"].some((flag) => given.includes(flag));
const paused = off ? [] : FLAGS.filter((flag) => !given.includes(`--no-${flag}`));

/** Starts no new jobs. */
export function pauseCompilation(): void {
  for (const flag of paused) v8.setFlagsFromString(`--no-${flag}`);
}

/** Starts jobs again. */
export function resumeCompilation(): void {
  for (const flag of paused) v8.setFlagsFromString(`--${flag}`);
}
