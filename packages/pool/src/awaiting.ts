/**
 * What `await` does with what is no promise: it calls `then()` with two functions of the engine's own, and does not look at what
 * it gets. To make a promise for that, and another to be settled, takes longer than all else that a pool does for a small task.
 */

/** Who has a name has it here, but for what `bind()` makes: that has one all the same. */
const ENGINES = "function () { [native code] }";
const textOf = Function.prototype.toString;

/** Whether a handler is one by which the engine settles a promise: it throws nothing, and has no result. */
export function isOfEngine(handler: unknown): boolean {
  return typeof handler === "function" && handler.name === "" && textOf.call(handler) === ENGINES;
}

/** What `then()` gives the engine: a promise that is made when somebody looks at it after all. */
export class UnmadePromise<R> implements Promise<R> {
  readonly #source: { promise(): Promise<unknown> };
  #promise: Promise<R> | undefined;

  /** @param source what is to be over when the promise is settled */
  constructor(source: { promise(): Promise<unknown> }) {
    this.#source = source;
  }

  // biome-ignore lint/suspicious/noThenProperty: it is one
  then<A = R, B = never>(
    onfulfilled?: ((value: R) => A | PromiseLike<A>) | null,
    // biome-ignore lint/suspicious/noExplicitAny: as a promise's
    onrejected?: ((reason: any) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#made.then(onfulfilled, onrejected);
  }

  // biome-ignore lint/suspicious/noExplicitAny: as a promise's
  catch<B = never>(onrejected?: ((reason: any) => B | PromiseLike<B>) | null): Promise<R | B> {
    return this.#made.catch(onrejected);
  }

  finally(onfinally?: (() => void) | null): Promise<R> {
    return this.#made.finally(onfinally);
  }

  get [Symbol.toStringTag](): string {
    return "Promise";
  }

  get #made(): Promise<R> {
    this.#promise ??= this.#source.promise().then(nothing, nothing) as Promise<R>;
    return this.#promise;
  }
}
function nothing(): undefined {}

// It is `instanceof Promise`, as what `then()` gives.
Object.setPrototypeOf(UnmadePromise.prototype, Promise.prototype);
