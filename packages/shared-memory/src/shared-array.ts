import { describeValue, makeShareable, registerReviver, type SharedHandle } from "@multiproc/core/internal";
import type { RLock } from "@multiproc/sync";
import type { ArrayOf, AtomicType, ElementOf, ElementType } from "./element-type.ts";
import { MODULE } from "./module-id.ts";
import { Received } from "./received.ts";
import { type CellsHandle, type LockOptions, TypedCells } from "./typed-cells.ts";

/**
 * Numbers of one type that processes share.
 *
 * `array` is a typed array over the memory itself; nothing is copied. An update needs the lock, or an
 * atomic operation of the integer types. An array that is sent to another process arrives with its
 * lock. The memory is freed when the last process that uses it has closed it or ended.
 *
 * @typeParam T the type of the numbers
 *
 * @example
 * ```ts
 * // file: tasks.ts
 * import { task } from "@multiproc/core";
 * import type { SharedArray } from "@multiproc/shared-memory";
 *
 * export const double = task(import.meta.url, function double(numbers: SharedArray<"float64">) {
 *   numbers.array.forEach((n, i) => numbers.array.set([n * 2], i));
 * });
 * // file: main.ts
 * import { Process } from "@multiproc/process";
 * import { SharedArray } from "@multiproc/shared-memory";
 * import { double } from "./tasks.ts";
 *
 * const numbers = new SharedArray("float64", [1, 2, 3]);
 * const child = new Process({ target: double, args: [numbers] });
 * await child.start();
 * await child.join();
 * console.log([...numbers]); // [ 2, 4, 6 ]
 * ```
 */
export class SharedArray<T extends ElementType = ElementType> implements Iterable<ElementOf<T>> {
  /** The type of the numbers. */
  readonly type: T;
  /** The number of elements. */
  readonly length: number;
  readonly #cells: TypedCells<T>;

  /**
   * Creates an array.
   *
   * @param type the type of the numbers
   * @param content the number of elements, which are 0 at first, or the first elements
   * @throws {CapabilityError} where processes cannot share memory, with the reason
   * @throws {TypeError} for an unknown type or option, and for values of another type
   * @throws {RangeError} if the number is not a length
   * @throws {ProcessError} `ERR_MEMORY` if the system has not enough memory left
   */
  constructor(type: T, content: number | Iterable<ElementOf<T>>, options: LockOptions = {}) {
    const handle = options instanceof Received ? (options.handle as CellsHandle) : undefined;
    if (handle !== undefined) this.#cells = TypedCells.attach("SharedArray", handle) as unknown as TypedCells<T>;
    else this.#cells = create(type, content, options);
    this.type = this.#cells.type;
    this.length = this.#cells.length;
  }

  /**
   * A typed array over the memory itself.
   *
   * @throws {SharedMemoryError} after `close()`
   */
  get array(): ArrayOf<T> {
    return this.#cells.array;
  }

  /**
   * The lock of the array, which is sent together with it.
   *
   * @throws {TypeError} if the array was created with `lock: false`
   */
  get lock(): RLock {
    return this.#cells.lock;
  }

  /**
   * Returns the number at an index. Negative indexes count from the end.
   *
   * @throws {RangeError} if the index is out of range
   */
  get(index: number): ElementOf<T> {
    return this.#cells.get(this.#resolveIndex("get()", index));
  }

  /**
   * Sets the number at an index.
   *
   * @throws {RangeError} if the index is out of range
   * @throws {TypeError} for a value of another type
   */
  set(index: number, value: ElementOf<T>): void {
    this.#cells.set("set()", this.#resolveIndex("set()", index), value);
  }

  /**
   * Adds to the number at an index atomically.
   *
   * @returns the previous number
   * @throws {RangeError} if the index is out of range
   * @throws {TypeError} for a floating-point type
   */
  add(this: SharedArray<T & AtomicType>, index: number, value: ElementOf<T>): ElementOf<T> {
    const position = this.#resolveIndex("add()", index);
    return this.#cells.atomics("add()").add(this.#cells.array as never, position, value as never) as never;
  }

  /** Sets the number at an index atomically. Returns the previous number. */
  exchange(this: SharedArray<T & AtomicType>, index: number, value: ElementOf<T>): ElementOf<T> {
    const position = this.#resolveIndex("exchange()", index);
    return this.#cells.atomics("exchange()").exchange(this.#cells.array as never, position, value as never) as never;
  }

  /** Sets the number at an index atomically if it equals `expected`. Returns the previous number. */
  compareExchange(
    this: SharedArray<T & AtomicType>,
    index: number,
    expected: ElementOf<T>,
    value: ElementOf<T>,
  ): ElementOf<T> {
    const position = this.#resolveIndex("compareExchange()", index);
    return this.#cells
      .atomics("compareExchange()")
      .compareExchange(this.#cells.array as never, position, expected as never, value as never) as never;
  }

  /** Iterates over the numbers. */
  *[Symbol.iterator](): Iterator<ElementOf<T>> {
    for (let i = 0; i < this.length; i++) yield this.#cells.get(i);
  }

  /** Releases the memory in this process. */
  close(): void {
    this.#cells.close();
  }

  /** Releases the memory in this process. */
  [Symbol.dispose](): void {
    this.close();
  }

  static {
    makeShareable(this, (array) => array.#toHandle());
  }

  #toHandle(): SharedHandle {
    return { kind: "shared-memory.SharedArray", module: MODULE, data: this.#cells.handle() };
  }

  #resolveIndex(call: string, index: number): number {
    const position = index < 0 ? this.length + index : index;
    if (Number.isInteger(index) && position >= 0 && position < this.length) return position;
    throw new RangeError(`${call} takes an index from ${-this.length} to ${this.length - 1}, not ${String(index)}`);
  }
}

registerReviver("shared-memory.SharedArray", (handle) => new SharedArray("int8", 0, new Received(handle) as never));

function create<T extends ElementType>(
  type: T,
  content: number | Iterable<ElementOf<T>>,
  options: LockOptions,
): TypedCells<T> {
  if (typeof content === "number") {
    if (!Number.isInteger(content) || content < 0)
      throw new RangeError(`new SharedArray() takes a length of 0 or more, not ${content}`);
    return TypedCells.create("SharedArray", type, content, options);
  }
  if (typeof (content as Partial<Iterable<ElementOf<T>>> | null | undefined)?.[Symbol.iterator] !== "function")
    throw new TypeError(`new SharedArray() takes a length or the first elements, not ${describeValue(content)}`);
  const values = [...content];
  const cells = TypedCells.create("SharedArray", type, values.length, options);
  for (const [i, value] of values.entries()) cells.set("new SharedArray()", i, value);
  return cells;
}
