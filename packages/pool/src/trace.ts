/** Where an error was thrown, and from where that was called: in one trace. */

/** The trace of an error leads on to the caller's; it is only read, and so only costs, when there is one. */
export function withCaller<R>(promise: Promise<R>, caller: Error): Promise<R> {
  return promise.catch((error) => {
    throw continueStack(error, caller);
  });
}

/** The error, its trace continued by the caller's. */
export function continueStack(error: unknown, caller: Error): unknown {
  if (!(error instanceof Error) || caller.stack === undefined) return error;
  const [, , ...frames] = caller.stack.split("\n"); // without the message, and the pool's own method
  const stack = `${error.stack}\n    -- called from --\n${frames.join("\n")}`;
  Object.defineProperty(error, "stack", { value: stack, configurable: true, writable: true });
  return error;
}
