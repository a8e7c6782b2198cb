/**
 * Async stack traces across processes: a task's error shows its worker's frames, then its caller's.
 *
 * The frames of the caller are captured only when a call fails, inside an async function that the
 * caller awaits. So a successful call costs nothing.
 */

/** The origin of errors from other processes, in words: "in worker 4711". */
const ERROR_ORIGINS: WeakMap<Error, string> = new WeakMap();
/** Errors whose trace already shows the caller. */
const CONTINUED_ERRORS: WeakSet<Error> = new WeakSet();
/**
 * The folders of this package, whose frames are left out of traces. A trace names the build, or the
 * source if source maps are used.
 */
const PACKAGE_URLS: string[] = (import.meta.url.endsWith(".ts") ? ["../../dist/", "../"] : ["../dist/", "../src/"]).map(
  (folder) => new URL(folder, import.meta.url).href,
);

/**
 * Appends the frames of the caller to the trace of an error, which lacks them if the error comes
 * from another process or from an event handler.
 *
 * The engine knows the frames that await the current async function, so this must be called in one.
 *
 * @returns the error itself
 */
export function continueTrace(error: unknown): unknown {
  if (!(error instanceof Error) || CONTINUED_ERRORS.has(error)) return error;
  const holder: { stack?: string } = {};
  (Error as { captureStackTrace?: (holder: object, above: unknown) => void }).captureStackTrace?.(
    holder,
    continueTrace,
  );
  const callerFrames = (holder.stack ?? "").split("\n").filter((line) => isCallersFrame(line));
  if (callerFrames.length === 0) return error;
  CONTINUED_ERRORS.add(error);
  const originFrames = (error.stack ?? "").split("\n").filter((line) => !isOwnFrame(line));
  const origin = ERROR_ORIGINS.get(error);
  const separator = origin === undefined ? "called from" : `${origin}, called from`;
  const stack = `${originFrames.join("\n")}\n    -- ${separator} --\n${callerFrames.join("\n")}`;
  Object.defineProperty(error, "stack", { value: stack, configurable: true, writable: true, enumerable: false });
  return error;
}

/** Records the origin of an error, in words such as "in worker 4711". */
export function recordOrigin(error: unknown, origin: string): void {
  if (error instanceof Error) ERROR_ORIGINS.set(error, origin);
}

/**
 * Returns whether a line is a frame of user code, rather than the heading, this package or the
 * runtime.
 */
function isCallersFrame(line: string): boolean {
  return line.startsWith("    at ") && !isOwnFrame(line) && !/(\(|at )(node|ext):/.test(line);
}

function isOwnFrame(line: string): boolean {
  return line.startsWith("    at ") && PACKAGE_URLS.some((folder) => line.includes(folder));
}
