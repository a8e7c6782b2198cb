import { makeShareable, registerReviver, type SharedHandle } from "@multiproc/core/internal";
import type { RLock } from "@multiproc/sync";
import type { AtomicType, ElementOf, ElementType } from "./element-type.ts";
import { MODULE } from "./module-id.ts";
import { Received } from "./received.ts";
import { type CellsHandle, type LockOptions, TypedCells } from "./typed-cells.ts";

/**
 * A number that processes share.
 *
 * One read or one write is atomic. An update such as `value += 1` needs the lock, or an atomic
 * operation of the integer types. A value that is sent to another process arrives with its lock. The
 * memory is freed when the last process that uses it has closed it or ended.
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
   * Creates a value.
   *
   * @param type the type of the number
   * @param value the first value; 0 if left out
   * @throws {CapabilityError} where processes cannot share memory, with the reason
   * @throws {TypeError} for an unknown type or option, and for a value of another type
   */
  constructor(type: T, value?: ElementOf<T>, options: LockOptions = {}) {
    const handle = options instanceof Received ? (options.handle as CellsHandle) : undefined;
    if (handle !== undefined) this.#cells = TypedCells.attach("SharedValue", handle) as unknown as TypedCells<T>;
    else this.#cells = TypedCells.create("SharedValue", type, 1, options);
    this.type = this.#cells.type;
    if (handle === undefined && value !== undefined) this.#cells.set("new SharedValue()", 0, value);
  }

  /**
   * The current number.
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
   * The lock of the value, which is sent together with it.
   *
   * @throws {TypeError} if the value was created with `lock: false`
   */
  get lock(): RLock {
    return this.#cells.lock;
  }

  /**
   * Adds to the value atomically.
   *
   * @returns the previous value
   * @throws {TypeError} for a floating-point type, as all atomic operations do
   */
  add(this: SharedValue<T & AtomicType>, value: ElementOf<T>): ElementOf<T> {
    return this.#cells.atomics("add()").add(this.#cells.array as never, 0, value as never) as never;
  }

  /** Subtracts from the value atomically. Returns the previous value. */
  sub(this: SharedValue<T & AtomicType>, value: ElementOf<T>): ElementOf<T> {
    return this.#cells.atomics("sub()").sub(this.#cells.array as never, 0, value as never) as never;
  }

  /** Clears all bits that are not in `value` atomically. Returns the previous value. */
  and(this: SharedValue<T & AtomicType>, value: ElementOf<T>): ElementOf<T> {
    return this.#cells.atomics("and()").and(this.#cells.array as never, 0, value as never) as never;
  }

  /** Sets all bits that are in `value` atomically. Returns the previous value. */
  or(this: SharedValue<T & AtomicType>, value: ElementOf<T>): ElementOf<T> {
    return this.#cells.atomics("or()").or(this.#cells.array as never, 0, value as never) as never;
  }

  /** Flips all bits that are in `value` atomically. Returns the previous value. */
  xor(this: SharedValue<T & AtomicType>, value: ElementOf<T>): ElementOf<T> {
    return this.#cells.atomics("xor()").xor(this.#cells.array as never, 0, value as never) as never;
  }

  /** Sets the value atomically. Returns the previous value. */
  exchange(this: SharedValue<T & AtomicType>, value: ElementOf<T>): ElementOf<T> {
    return this.#cells.atomics("exchange()").exchange(this.#cells.array as never, 0, value as never) as never;
  }

  /** Sets the value atomically if it equals `expected`. Returns the previous value. */
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

registerReviver(
  "shared-memory.SharedValue",
  (handle) => new SharedValue("int8", undefined, new Received(handle) as never),
);
