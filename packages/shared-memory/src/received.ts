/**
 * A handle in the place of a constructor's options: a reviver passes it to attach the new object to
 * existing memory. Users cannot create one, so no option of theirs can mean a handle.
 */
export class Received<T> {
  readonly handle: T;

  constructor(handle: T) {
    this.handle = handle;
  }
}
