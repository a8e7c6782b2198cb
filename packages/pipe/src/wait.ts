import { checkTimeout, host, KeepAlive, TIMED_OUT, type WaitOptions, withTimeout } from "@multiproc/core/internal";

/** What {@link wait} can wait for: a connection or a listener, the sentinel of a process, or whatever else ends. */
export type Waitable = ReadySource | Completion;

/**
 * A connection or a listener, as far as {@link wait} needs to know.
 *
 * @example Whichever connection has something
 * ```ts
 * import { pipe, wait } from "@multiproc/pipe";
 *
 * const [a, b] = pipe<string>();
 * const [c] = pipe<string>();
 * await b.send("hello");
 * const ready = await wait([a, c]); // connections and listeners are such
 * console.log(ready.length, ready[0] === a); // 1 true
 * ```
 */
export interface ReadySource {
  /** Throws if it was closed. @internal */
  "multiproc:check"(call: string): void;
  /** Whether what it can give is there, or nothing will come. @internal */
  "multiproc:ready"(): boolean;
  /** Calls back when it may have become ready. @internal */
  "multiproc:watch"(run: () => void): () => void;
}

/**
 * What ends once, such as a process: `process.sentinel`.
 *
 * @example Whatever has an end can be waited for
 * ```ts
 * import { type Ending, wait } from "@multiproc/pipe";
 *
 * const work: Ending = { ended: Promise.resolve() };
 * console.log((await wait([work])).includes(work)); // true
 * ```
 */
export interface Completion {
  /** Settles at the end, either way. */
  readonly ended: Promise<unknown>;
}

/**
 * Waits until at least one of several objects is ready: a connection from which a message, or the end, can be received; a
 * listener that has a connection to accept; a process, by its `sentinel`, that has ended.
 *
 * @param objects what to wait for
 * @param options how long to wait; a `timeout` of 0 only looks
 * @returns those that are ready, in the order in which they were given; none when the time ran out
 * @throws {ConnectionError} if a connection or listener was closed here before
 * @throws {TypeError} if one of them is nothing that can be waited for
 *
 * @example Whichever comes first
 * ```ts
 * import { pipe, wait } from "@multiproc/pipe";
 *
 * const [a, b] = pipe<string>();
 * const [c, d] = pipe<string>();
 * await c.send("hello");
 * for (const connection of await wait([b, d])) console.log(connection === d, await d.recv()); // true "hello"
 * for (const end of [a, b, c, d]) end.close();
 * ```
 */
export async function wait<W extends Waitable>(objects: Iterable<W>, options: WaitOptions = {}): Promise<W[]> {
  const { timeout, signal } = options;
  checkTimeout("wait()", timeout);
  signal?.throwIfAborted();
  const all = [...objects];
  const sources = all.map(toReadySource);
  for (const source of sources) source["multiproc:check"]("wait()");
  const deadline = performance.now() + (timeout ?? Number.POSITIVE_INFINITY);
  let isTimedOut = false;
  while (true) {
    const ready = all.filter((_, i) => sources[i]?.["multiproc:ready"]());
    if (ready.length > 0 || isTimedOut) return ready;
    const remainingMs = Math.max(0, deadline - performance.now());
    // One that became ready may have been emptied by somebody else meanwhile.
    isTimedOut =
      (await waitForChange(sources, timeout === undefined ? { signal } : { timeout: remainingMs, signal })) ===
      TIMED_OUT;
  }
}

/** Settles when one of them may have become ready, or the time is out; without time, after the loop has had its turn. */
async function waitForChange(sources: readonly ReadySource[], options: WaitOptions): Promise<unknown> {
  const cancels: Array<() => void> = [];
  try {
    const changed = new Promise<void>((resolve) => {
      for (const source of sources) cancels.push(source["multiproc:watch"](resolve));
    });
    if (options.timeout === 0) return await Promise.race([changed, nextTurn().then(() => TIMED_OUT)]);
    return await withTimeout(changed, "wait()", options);
  } finally {
    for (const cancel of cancels) cancel();
  }
}

/** Lets the loop see what has arrived. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => host.afterIo(resolve));
}

function toReadySource(object: Waitable): ReadySource {
  if (typeof object === "object" && object !== null) {
    if ("multiproc:watch" in object) return object;
    if (object.ended instanceof Promise) return completionSourceFor(object.ended);
  }
  throw new TypeError(`wait() takes connections, listeners and sentinels, not ${String(object)}`);
}

class CompletionSource implements ReadySource {
  #isComplete = false;
  readonly #watchers = new Set<() => void>();

  constructor(ended: Promise<unknown>) {
    const complete = (): void => {
      this.#isComplete = true;
      for (const run of this.#watchers) run();
      this.#watchers.clear();
    };
    ended.then(complete, complete);
  }

  "multiproc:check"(): void {}

  "multiproc:ready"(): boolean {
    return this.#isComplete;
  }

  /** The program stays alive meanwhile, also where it would not for the process itself. */
  "multiproc:watch"(run: () => void): () => void {
    const keepAlive = new KeepAlive();
    keepAlive.active = true;
    this.#watchers.add(run);
    return () => {
      this.#watchers.delete(run);
      keepAlive.active = false;
    };
  }
}

/** One for each promise, since what hangs on a promise stays there until it settles. */
const completionSources = new WeakMap<Promise<unknown>, CompletionSource>();

function completionSourceFor(ended: Promise<unknown>): CompletionSource {
  let source = completionSources.get(ended);
  if (source === undefined) completionSources.set(ended, (source = new CompletionSource(ended)));
  return source;
}
