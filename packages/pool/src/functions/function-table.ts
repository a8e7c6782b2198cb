/**
 * The functions of a pool. Each gets a number when it is first used, so that tasks can name it in a
 * few bytes. A worker keeps the functions in its `FunctionCache`.
 */
import { type AnyFunction, SendError } from "@multiproc/core";
import {
  type EncodedSink,
  encodeInto,
  encodeMessage,
  requireTarget,
  type TargetReference,
} from "@multiproc/core/internal";
import { DurationEstimate } from "../scheduler/duration-estimate.ts";

/** Encoding without names for the values is faster. Names are needed only for errors. */
const UNNAMED: readonly string[] = Object.freeze([]);

/** A function with its number, its reference for workers, and its estimated duration. */
export class KnownFunction {
  readonly id: number;
  readonly reference: TargetReference;
  readonly estimate: DurationEstimate = new DurationEstimate();

  constructor(id: number, reference: TargetReference) {
    this.id = id;
    this.reference = reference;
  }

  /** The name of the function, for messages. */
  get name(): string {
    return this.reference.name || "an inline function";
  }

  /**
   * Serializes the payload of a task. Later changes of the values do not affect it, except those of
   * large binary parts. Holes and extra properties of the list itself are ignored.
   *
   * @param sink receives the message
   * @param values the arguments, or the inputs of a chunk
   * @param rename returns the user's name of the value at `args[…]`
   * @throws {SendError} if a value cannot be sent
   */
  encode<T>(sink: EncodedSink<T>, values: readonly unknown[], rename?: (path: string) => string): T {
    try {
      return encodeInto(sink, values, UNNAMED);
    } catch {
      return encodeNamed(sink, values, rename); // slower, but the error names the value
    }
  }

  /** Serializes one input of a map. */
  encodeInput<T>(sink: EncodedSink<T>, input: unknown, index: number, isStar: boolean): T {
    try {
      return encodeInto(sink, isStar ? input : [input], UNNAMED);
    } catch {
      const argsPath = isStar ? /^args/ : /^args\[0\]/;
      return encodeNamed(sink, isStar ? input : [input], (path) => path.replace(argsPath, `inputs[${index}]`));
    }
  }
}

/** Numbers the functions of a pool. */
export class FunctionTable {
  #count = 0;
  readonly #byFunction: WeakMap<AnyFunction, KnownFunction> = new WeakMap();
  /** The same, by module and name, because `fromModule()` makes a new function at every call. */
  readonly #byName: Map<string, KnownFunction> = new Map();

  /**
   * Returns the entry of a function, and adds it at its first use.
   *
   * @param call the call as the user wrote it
   * @throws {TypeError} if `fn` is not a function
   * @throws {TargetError} if workers cannot find it
   * @throws {SendError} if a captured value cannot be sent
   */
  getOrAdd(fn: AnyFunction, call: string): KnownFunction {
    const found = this.#byFunction.get(fn);
    if (found !== undefined) return found;
    const reference = requireTarget(fn, call);
    const key = "module" in reference ? `${reference.module}#${reference.name}` : undefined;
    // Checks that the function can be sent. The encoded message is dropped: each worker gets its
    // own.
    if (key === undefined) encodeMessage(reference, "fn");
    const known =
      (key === undefined ? undefined : this.#byName.get(key)) ?? new KnownFunction(++this.#count, reference);
    this.#byFunction.set(fn, known);
    if (key !== undefined) this.#byName.set(key, known);
    return known;
  }
}

function encodeNamed<T>(sink: EncodedSink<T>, values: unknown, rename?: (path: string) => string): T {
  try {
    return encodeInto(sink, values, "args");
  } catch (error) {
    throw error instanceof SendError && rename !== undefined ? withPath(error, rename(error.path)) : error;
  }
}

function withPath(error: SendError, path: string): SendError {
  const what = error.message.slice(`Cannot send value at ${error.path}: `.length);
  return new SendError(path, what, "cause" in error ? { cause: error.cause } : {});
}
