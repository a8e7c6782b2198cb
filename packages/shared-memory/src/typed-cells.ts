/**
 * *Cells* are elements of one type in shared memory, with an optional lock. `SharedValue` has one cell,
 * `SharedArray` has any number.
 */
import { CapabilityError } from "@multiproc/core";
import {
  checkOptions,
  describeValue,
  type SegmentAddress,
  SharedSegment,
  whyNoSharedMemory,
} from "@multiproc/core/internal";
import { RLock } from "@multiproc/sync";
import {
  type ArrayOf,
  checkElement,
  createView,
  type ElementOf,
  type ElementType,
  elementSize,
} from "./element-type.ts";
import { SharedMemoryError } from "./errors.ts";

/**
 * The lock of a `SharedValue` or a `SharedArray`.
 *
 * @example Two values with one lock, and one with none
 * ```ts
 * import { SharedValue } from "@multiproc/shared-memory";
 * import { RLock } from "@multiproc/sync";
 *
 * const lock = new RLock();
 * const [x, y] = [new SharedValue("int32", 1, { lock }), new SharedValue("int32", 2, { lock })];
 * const raw = new SharedValue("int32", 3, { lock: false });
 * console.log(x.lock === y.lock, raw.value); // true 3
 * ```
 */
export interface LockOptions {
  /**
   * The lock that is sent together with the elements: `true` for a new one, `false` for none, or an existing one.
   *
   * @default true
   */
  readonly lock?: boolean | RLock | undefined;
}

/** Cells in encoded form, as part of a message. */
export interface CellsHandle {
  readonly type: ElementType;
  readonly length: number;
  readonly address: SegmentAddress;
  readonly lock: RLock | undefined;
}

/** The part of `Atomics` that this package uses. Its types accept arrays over any memory. */
interface AtomicOperations<T extends ElementType> {
  load(array: ArrayOf<T>, index: number): ElementOf<T>;
  store(array: ArrayOf<T>, index: number, value: ElementOf<T>): ElementOf<T>;
  add(array: ArrayOf<T>, index: number, value: ElementOf<T>): ElementOf<T>;
  sub(array: ArrayOf<T>, index: number, value: ElementOf<T>): ElementOf<T>;
  and(array: ArrayOf<T>, index: number, value: ElementOf<T>): ElementOf<T>;
  or(array: ArrayOf<T>, index: number, value: ElementOf<T>): ElementOf<T>;
  xor(array: ArrayOf<T>, index: number, value: ElementOf<T>): ElementOf<T>;
  exchange(array: ArrayOf<T>, index: number, value: ElementOf<T>): ElementOf<T>;
  compareExchange(array: ArrayOf<T>, index: number, expected: ElementOf<T>, value: ElementOf<T>): ElementOf<T>;
}

export class TypedCells<T extends ElementType> {
  readonly type: T;
  readonly length: number;
  readonly #className: string;
  readonly #memory: SharedSegment;
  readonly #lock: RLock | undefined;
  readonly #array: ArrayOf<T>;
  #isClosed = false;

  private constructor(className: string, type: T, length: number, memory: SharedSegment, lock: RLock | undefined) {
    this.type = type;
    this.length = length;
    this.#className = className;
    this.#memory = memory;
    this.#lock = lock;
    this.#array = createView(type, memory.buffer, length);
  }

  /** Creates elements with the value 0. */
  static create<T extends ElementType>(
    className: string,
    type: T,
    length: number,
    options: LockOptions,
  ): TypedCells<T> {
    const lock = checkedLock(`new ${className}()`, options);
    const reason = whyNoSharedMemory();
    if (reason !== undefined)
      throw new CapabilityError(`new ${className}() needs memory that processes share: ${reason}`);
    const memory = SharedSegment.create(Math.max(1, length * elementSize(type)));
    return new TypedCells(
      className,
      type,
      length,
      memory,
      lock === true ? new RLock() : lock === false ? undefined : lock,
    );
  }

  /** Attaches to elements that another process sent. */
  static attach(className: string, { type, length, address, lock }: CellsHandle): TypedCells<ElementType> {
    return new TypedCells(className, type, length, SharedSegment.attach(address), lock);
  }

  /** A typed array over the memory itself. */
  get array(): ArrayOf<T> {
    if (this.#isClosed) {
      throw new SharedMemoryError(`${this.#className} was used after close(): close it later`, {
        code: "ERR_SHARED_MEMORY_CLOSED",
      });
    }
    return this.#array;
  }

  get lock(): RLock {
    if (this.#lock !== undefined) return this.#lock;
    throw new TypeError(`lock was read on a ${this.#className} without a lock: create it without lock: false`);
  }

  get(index: number): ElementOf<T> {
    return (this.type.startsWith("f") ? this.array[index] : this.atomics("get()").load(this.array, index)) as never;
  }

  set(call: string, index: number, value: ElementOf<T>): void {
    checkElement(call, this.type, value);
    if (this.type.startsWith("f")) this.array[index] = value;
    else this.atomics(call).store(this.array, index, value);
  }

  /** Returns the atomic operations. @throws {TypeError} if the type has none */
  atomics(call: string): AtomicOperations<T> {
    if (!this.type.startsWith("f")) return Atomics as unknown as AtomicOperations<T>;
    throw new TypeError(`${call} is not available for ${this.type}: hold the lock, and set the value`);
  }

  handle(): CellsHandle {
    this.array; // throws after close()
    return { type: this.type, length: this.length, address: this.#memory.address(), lock: this.#lock };
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#memory.close();
  }
}

function checkedLock(call: string, options: LockOptions): boolean | RLock {
  checkOptions(call, options, ["lock"]);
  const { lock = true } = options;
  // Duck typing: another copy of @multiproc/sync may have created the lock.
  if (typeof lock !== "boolean" && typeof (lock as Partial<RLock> | null)?.acquire !== "function")
    throw new TypeError(`${call} takes an RLock, true or false as lock, not ${describeValue(lock)}`);
  return lock;
}
