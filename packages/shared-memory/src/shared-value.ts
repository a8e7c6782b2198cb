import { makeShareable, registerReviver, type SharedHandle } from "@multiproc/core/internal";
import type { RLock } from "@multiproc/sync";
import type { AtomicType, ElementOf, ElementType } from "./element-type.ts";
import { MODULE } from "./module-id.ts";
import { type CellsHandle, type LockOptions, TypedCells } from "./typed-cells.ts";

/**
 * A number that processes share.
 *
 * A read or a write is done as one. What reads and writes again, such as `value += 1`, needs the lock, or one of the atomic
 * operations, which the types of whole numbers have. Sent to another process, it arrives with its lock. The memory is freed
 * when the last process that has it has closed it or ended.
 *
 * @typeParam T the type of the number
 *
 * @example A counter
 * ```ts
 * // file: tasks.ts
 * import { task } from "@multiproc/core";
 * import type { SharedValue } from "@multiproc/shared-memory";
 *
 * export const count = task(import.meta.url, async function count(hits: SharedValue<"int32">, sum: SharedValue<"float64">) {
 *   hits.add(1);
 *   using held = await sum.lock.acquire();
 *   sum.value += 0.5;
 * });
 * // file: main.ts
 * import { Process } from "@multiproc/process";
 * import { SharedValue } from "@multiproc/shared-memory";
 * import { count } from "./tasks.ts";
 *
 * const hits = new SharedValue("int32", 0);
 * const sum = new SharedValue("float64", 0);
 * const children = [1, 2].map(() => new Process({ target: count, args: [hits, sum] }));
 * for (const child of children) await child.start();
 * for (const child of children) await child.join();
 * console.log(hits.value, sum.value); // 2 1
 * ```
 */
export class SharedValue<T extends ElementType = ElementType> {
  /** The type of the number. */
  readonly type: T;
  readonly #cells: TypedCells<T>;

  /**
   * Makes a value.
   *
   * @param type the type of the number
   * @param value what it is at first; 0 when missing
   * @throws {CapabilityError} where memory cannot be shared, and says why
   * @throws {TypeError} for a type that there is not, and for a value of another type
   */
  constructor(type: T, value?: ElementOf<T>, options: LockOptions = {}) {
    const { handle } = options as { handle?: CellsHandle };
    if (handle !== undefined) this.#cells = TypedCells.attach("SharedValue", handle) as unknown as TypedCells<T>;
    else this.#cells = TypedCells.create("SharedValue", type, 1, options);
    this.type = this.#cells.type;
    if (handle === undefined && value !== undefined) this.#cells.set("SharedValue", 0, value);
  }

  /**
   * The number at this moment.
   *
   * @throws {SharedMemoryError} after `close()`
   */
  get value(): ElementOf<T> {
    return this.#cells.get(0);
  }

  set value(value: ElementOf<T>) {
    this.#cells.set("value", 0, value);
  }

  /**
   * The lock that travels with the value.
   *
   * @throws {TypeError} if it was made without one
   */
  get lock(): RLock {
    return this.#cells.lock;
  }

  /**
   * Adds to the value, as one operation.
   *
   * @returns what it was before
   * @throws {TypeError} for a type that has no atomic operations, as for all of these
   */
  add(this: SharedValue<T & AtomicType>, value: ElementOf<T>): ElementOf<T> {
    return this.#cells.atomics("add()").add(this.#cells.array as never, 0, value as never) as never;
  }

  /** Subtracts from the value, as one operation; returns what it was before. */
  sub(this: SharedValue<T & AtomicType>, value: ElementOf<T>): ElementOf<T> {
    return this.#cells.atomics("sub()").sub(this.#cells.array as never, 0, value as never) as never;
  }

  /** Clears all bits that are not in `value`, as one operation; returns what it was before. */
  and(this: SharedValue<T & AtomicType>, value: ElementOf<T>): ElementOf<T> {
    return this.#cells.atomics("and()").and(this.#cells.array as never, 0, value as never) as never;
  }

  /** Sets all bits that are in `value`, as one operation; returns what it was before. */
  or(this: SharedValue<T & AtomicType>, value: ElementOf<T>): ElementOf<T> {
    return this.#cells.atomics("or()").or(this.#cells.array as never, 0, value as never) as never;
  }

  /** Flips all bits that are in `value`, as one operation; returns what it was before. */
  xor(this: SharedValue<T & AtomicType>, value: ElementOf<T>): ElementOf<T> {
    return this.#cells.atomics("xor()").xor(this.#cells.array as never, 0, value as never) as never;
  }

  /** Sets the value; returns what it was before. */
  exchange(this: SharedValue<T & AtomicType>, value: ElementOf<T>): ElementOf<T> {
    return this.#cells.atomics("exchange()").exchange(this.#cells.array as never, 0, value as never) as never;
  }

  /** Sets the value if it is `expected`; returns what it was before. */
  compareExchange(this: SharedValue<T & AtomicType>, expected: ElementOf<T>, value: ElementOf<T>): ElementOf<T> {
    const { array } = this.#cells;
    return this.#cells
      .atomics("compareExchange()")
      .compareExchange(array as never, 0, expected as never, value as never) as never;
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
    makeShareable(this, (value) => value.#toHandle());
  }

  #toHandle(): SharedHandle {
    return { kind: "shared-memory.SharedValue", module: MODULE, data: this.#cells.handle() };
  }
}

registerReviver("shared-memory.SharedValue", (handle) => new SharedValue("int8", undefined, { handle } as LockOptions));
