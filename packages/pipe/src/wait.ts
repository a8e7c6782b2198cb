import {
  checkWaitOptions,
  describeValue,
  KeepAlive,
  TIMED_OUT,
  type WaitOptions,
  withTimeout,
} from "@multiproc/core/internal";
import type { Connection } from "./connection.ts";
import { nextTurn } from "./ends/receive.ts";
import type { Listener } from "./listener.ts";
import { makeWaitable, type WaitHooks, waitHooksOf } from "./waitable.ts";

/** An object that {@link wait} can wait for. For a process, pass its `sentinel`, a {@link Completion}. */
export type Waitable = Connection | Listener | Completion;

/**
 * An object that ends once, such as the `sentinel` of a process.
 *
 * @example Any object with a promise named "ended"
 * ```ts
 * import { type Completion, wait } from "@multiproc/pipe";
 *
 * const work: Completion = { ended: Promise.resolve() };
 * console.log((await wait([work])).includes(work)); // true
 * ```
 */
export interface Completion {
  /** Settles at the end, whether it succeeds or fails. */
  readonly ended: Promise<unknown>;
}

/**
 * Waits until at least one of several objects is ready.
 *
 * A connection is ready when a message, or the end of the pipe, can be received. A listener is ready
 * when it has a connection to accept. The `sentinel` of a process is ready when the process has ended.
 *
 * @param objects connections, listeners and sentinels
 * @param options how long to wait; a `timeout` of 0 returns what is ready now
 * @returns the objects that are ready, in the order of `objects`; none if the time ran out
 * @throws {ConnectionError} if a connection or listener is closed, or a connection only sends
 * @throws {TypeError} if one of the objects is not waitable
 *
 * @example The connection that receives a message first
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
  checkWaitOptions("wait()", options);
  const { timeout, signal } = options;
  signal?.throwIfAborted();
  if (typeof (objects as Partial<Iterable<W>> | undefined)?.[Symbol.iterator] !== "function")
    throw new TypeError(
      `wait() takes the objects to wait for as an iterable, such as an array, not ${describeValue(objects)}`,
    );
  const all = [...objects];
  const sources = all.map(toSource);
  for (const source of sources) hooksOf(source).check(source, "wait()");
  const deadline = performance.now() + (timeout ?? Number.POSITIVE_INFINITY);
  let isTimedOut = false;
  while (true) {
    const ready = all.filter((_, i) => isReady(sources[i] as object));
    if (ready.length > 0 || isTimedOut) return ready;
    const remainingMs = Math.max(0, deadline - performance.now());
    // Another receiver may have taken the message that made an object ready, so the loop checks again.
    isTimedOut =
      (await waitForChange(sources, timeout === undefined ? { signal } : { timeout: remainingMs, signal })) ===
      TIMED_OUT;
  }
}

/** Waits until an object may have become ready. With a timeout of 0, waits for one turn of the event loop. */
async function waitForChange(sources: readonly object[], options: WaitOptions): Promise<unknown> {
  const cancels: Array<() => void> = [];
  try {
    const changed = new Promise<void>((resolve) => {
      for (const source of sources) cancels.push(hooksOf(source).watch(source, resolve));
    });
    if (options.timeout === 0) return await Promise.race([changed, nextTurn().then(() => TIMED_OUT)]);
    return await withTimeout(changed, "wait()", options);
  } finally {
    for (const cancel of cancels) cancel();
  }
}

/** Returns the object itself if its class has hooks, or the source for its `ended` promise. */
function toSource(object: Waitable): object {
  if (typeof object === "object" && object !== null) {
    if (waitHooksOf(object) !== undefined) return object;
    const { ended } = object as Partial<Completion>;
    if (ended instanceof Promise) return completionSourceFor(ended);
  }
  throw new TypeError(`wait() takes connections, listeners and sentinels, not ${describeValue(object)}`);
}

function hooksOf(source: object): WaitHooks<object> {
  return waitHooksOf(source) as WaitHooks<object>;
}

function isReady(source: object): boolean {
  return hooksOf(source).isReady(source);
}

/** Makes a promise waitable: it is ready when the promise has settled. */
class CompletionSource {
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

  static {
    makeWaitable(this, {
      check() {},
      isReady: (source) => source.#isComplete,
      watch: (source, run) => source.#watch(run),
    });
  }

  /** The promise may have no handle of its own, so a timer keeps the program alive during the wait. */
  #watch(run: () => void): () => void {
    const keepAlive = new KeepAlive();
    keepAlive.active = true;
    this.#watchers.add(run);
    return () => {
      this.#watchers.delete(run);
      keepAlive.active = false;
    };
  }
}

/** One source per promise. A promise's handlers cannot be removed, so a handler for each wait would be a leak. */
const completionSources = new WeakMap<Promise<unknown>, CompletionSource>();

function completionSourceFor(ended: Promise<unknown>): CompletionSource {
  let source = completionSources.get(ended);
  if (source === undefined) completionSources.set(ended, (source = new CompletionSource(ended)));
  return source;
}
