/** The functions that workers call: how the pool names them, and how a worker finds them. */
import { type AnyFunction, SendError } from "@multiproc/core";
import {
  type EncodedSink,
  encodeInto,
  encodeMessage,
  requireTarget,
  type TargetReference,
} from "@multiproc/core/internal";
import { DurationEstimate } from "../scheduler/duration-estimate.ts";

const UNNAMED: readonly string[] = Object.freeze([]);

/** A function as tasks name it: a number, instead of its name or its text. */
export class KnownFunction {
  readonly id: number;
  readonly reference: TargetReference;
  /** How long it takes. */
  readonly estimate: DurationEstimate = new DurationEstimate();

  constructor(id: number, reference: TargetReference) {
    this.id = id;
    this.reference = reference;
  }

  /** What it is called, for people. */
  get name(): string {
    return this.reference.name || "an inline function";
  }

  /**
   * Encodes a task: what becomes of the values later does not change it, apart from their large binary parts. Whether the list of
   * them has holes or properties of its own makes no difference to a task, and is not asked.
   *
   * @param keeper takes what is encoded
   * @param values the arguments, or the inputs of a chunk
   * @param rename says what the user calls a value that stands at `args[…]`
   * @throws {SendError} if one of them cannot be sent
   */
  encode<T>(sink: EncodedSink<T>, values: readonly unknown[], rename?: (path: string) => string): T {
    try {
      return encodeInto(sink, values, UNNAMED);
    } catch {
      return encodeNamed(sink, values, rename); // which says how the one is called that cannot be sent
    }
  }

  /** Encodes the arguments for one input of a map. */
  encodeInput<T>(sink: EncodedSink<T>, input: unknown, index: number, isStar: boolean): T {
    try {
      return encodeInto(sink, isStar ? input : [input], UNNAMED);
    } catch {
      const argsPath = isStar ? /^args/ : /^args\[0\]/;
      return encodeNamed(sink, isStar ? input : [input], (path) => path.replace(argsPath, `inputs[${index}]`));
    }
  }
}

/** Gives functions their numbers. */
export class FunctionTable {
  #count = 0;
  readonly #byFunction: WeakMap<AnyFunction, KnownFunction> = new WeakMap();
  /** By module and name: `fromModule()` makes new functions for the same export at every call. */
  readonly #byName: Map<string, KnownFunction> = new Map();

  /**
   * The known function for what a user gave.
   *
   * @param call the call as the user wrote it
   * @throws {TypeError} if it is no function
   * @throws {TargetError} if a worker could not find it
   * @throws {SendError} if a value that it captures cannot be sent
   */
  getOrAdd(fn: AnyFunction, call: string): KnownFunction {
    const found = this.#byFunction.get(fn);
    if (found !== undefined) return found;
    const reference = requireTarget(fn, call);
    const key = "module" in reference ? `${reference.module}#${reference.name}` : undefined;
    // Each worker is sent its own copy later; this one only finds out whether that can be done.
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
