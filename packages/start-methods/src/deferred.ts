/** A promise that is settled from outside. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(reason: unknown): void;
}

/** Makes one; that nobody waits for it when it is rejected is no error. */
export function deferred<T>(): Deferred<T> {
  const result = {} as { -readonly [K in keyof Deferred<T>]: Deferred<T>[K] };
  result.promise = new Promise((resolve, reject) => Object.assign(result, { resolve, reject }));
  result.promise.catch(() => {}); // whoever waits for it hears of it
  return result;
}
