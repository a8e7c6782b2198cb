/** Traces of errors that cross processes. */

/** Where errors come from, if not from here. */
const ERROR_ORIGINS: WeakMap<Error, string> = new WeakMap();
/** Errors whose trace has been continued. */
const CONTINUED_ERRORS: WeakSet<Error> = new WeakSet();
/** Where this package is: frames in it are of no interest, whether a trace names the build or, by its source maps, the source. */
const PACKAGE_URLS: string[] = (import.meta.url.endsWith(".ts") ? ["../../dist/", "../"] : ["../dist/", "../src/"]).map(
  (folder) => new URL(folder, import.meta.url).href,
);

/**
 * Continues the trace of an error from another process, or from an event, by that of who waits for it. To be called in an
 * async function: the engine knows who awaits that, so nothing has to be noted while all goes well.
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

/** Says where an error comes from, in words: "in worker 4711". */
export function recordOrigin(error: unknown, origin: string): void {
  if (error instanceof Error) ERROR_ORIGINS.set(error, origin);
}

/** Neither the heading, nor this package, nor the host's own machinery. */
function isCallersFrame(line: string): boolean {
  return line.startsWith("    at ") && !isOwnFrame(line) && !/(\(|at )(node|ext):/.test(line);
}

function isOwnFrame(line: string): boolean {
  return line.startsWith("    at ") && PACKAGE_URLS.some((folder) => line.includes(folder));
}
