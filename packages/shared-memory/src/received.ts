/**
 * A handle that a reviver passes to a constructor instead of options. The new object then attaches to
 * existing memory. The package does not export this class, so users' options are never taken for a handle.
 */
export class Received<T> {
  readonly handle: T;

  constructor(handle: T) {
    this.handle = handle;
  }
}
