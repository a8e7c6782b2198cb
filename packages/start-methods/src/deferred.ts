/** A promise with the functions that settle it. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(reason: unknown): void;
}

/** Creates a deferred. Its rejection is never reported as unhandled. */
export function deferred<T>(): Deferred<T> {
  const result = {} as { -readonly [K in keyof Deferred<T>]: Deferred<T>[K] };
  result.promise = new Promise((resolve, reject) => Object.assign(result, { resolve, reject }));
  result.promise.catch(() => {});
  return result;
}
