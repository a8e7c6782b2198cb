import { makeShareable, registerReviver, type SharedHandle } from "@multiproc/core/internal";
import type { RLock } from "@multiproc/sync";
import type { ArrayOf, AtomicType, ElementOf, ElementType } from "./element-type.ts";
import { MODULE } from "./module-id.ts";
import { type CellsHandle, type LockOptions, TypedCells } from "./typed-cells.ts";

/**
 * Numbers of one type that processes share.
 *
 * `array` is the memory itself, as a typed array; nothing is copied. What reads and writes again needs the lock, or one of the
 * atomic operations, which the types of whole numbers have. Sent to another process, it arrives with its lock. The memory is
 * freed when the last process that has it has closed it or ended.
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
  /** How many there are. */
  readonly length: number;
  readonly #cells: TypedCells<T>;

  /**
   * Makes an array.
   *
   * @param type the type of the numbers
   * @param content how many there are, all 0, or what they are at first
   * @throws {CapabilityError} where memory cannot be shared, and says why
   * @throws {TypeError} for a type that there is not, and for values of another type
   * @throws {RangeError} for a number that is no length
   * @throws {ProcessError} `ERR_MEMORY` if the system has not that much left
   */
  constructor(type: T, content: number | Iterable<ElementOf<T>>, options: LockOptions = {}) {
    const { handle } = options as { handle?: CellsHandle };
    if (handle !== undefined) this.#cells = TypedCells.attach("SharedArray", handle) as unknown as TypedCells<T>;
    else this.#cells = create(type, content, options);
    this.type = this.#cells.type;
    this.length = this.#cells.length;
  }

  /**
   * The numbers, which are the memory itself.
   *
   * @throws {SharedMemoryError} after `close()`
   */
  get array(): ArrayOf<T> {
    return this.#cells.array;
  }

  /**
   * The lock that travels with the array.
   *
   * @throws {TypeError} if it was made without one
   */
  get lock(): RLock {
    return this.#cells.lock;
  }

  /**
   * The number at a place, counted from the end if it is negative.
   *
   * @throws {RangeError} if there is no such place
   */
  get(index: number): ElementOf<T> {
    return this.#cells.get(this.#resolveIndex("get()", index));
  }

  /**
   * Sets the number at a place.
   *
   * @throws {RangeError} if there is no such place
   * @throws {TypeError} for a value of another type
   */
  set(index: number, value: ElementOf<T>): void {
    this.#cells.set("set()", this.#resolveIndex("set()", index), value);
  }

  /**
   * Adds to the number at a place, as one operation.
   *
   * @returns what it was before
   * @throws {RangeError} if there is no such place
   * @throws {TypeError} for a type that has no atomic operations
   */
  add(this: SharedArray<T & AtomicType>, index: number, value: ElementOf<T>): ElementOf<T> {
    const position = this.#resolveIndex("add()", index);
    return this.#cells.atomics("add()").add(this.#cells.array as never, position, value as never) as never;
  }

  /** Sets the number at a place, as one operation; returns what it was before. */
  exchange(this: SharedArray<T & AtomicType>, index: number, value: ElementOf<T>): ElementOf<T> {
    const position = this.#resolveIndex("exchange()", index);
    return this.#cells.atomics("exchange()").exchange(this.#cells.array as never, position, value as never) as never;
  }

  /** Sets the number at a place if it is `expected`, as one operation; returns what it was before. */
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

  /** The numbers, one by one. */
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
    throw new RangeError(`${call} takes a place in ${this.length} elements, not ${String(index)}`);
  }
}

registerReviver("shared-memory.SharedArray", (handle) => new SharedArray("int8", 0, { handle } as LockOptions));

function create<T extends ElementType>(
  type: T,
  content: number | Iterable<ElementOf<T>>,
  options: LockOptions,
): TypedCells<T> {
  if (typeof content === "number") {
    if (!Number.isInteger(content) || content < 0)
      throw new RangeError(`SharedArray takes a length of 0 or more, not ${content}`);
    return TypedCells.create("SharedArray", type, content, options);
  }
  const values = [...content];
  const cells = TypedCells.create("SharedArray", type, values.length, options);
  for (const [i, value] of values.entries()) cells.set("SharedArray", i, value);
  return cells;
}
