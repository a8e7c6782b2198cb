/** Elements of one type in memory that processes share: what shared values and arrays are built on. */
import { CapabilityError } from "@multiproc/core";
import { type SegmentAddress, SharedSegment, whyNoSharedMemory } from "@multiproc/core/internal";
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
 * Whether there is a lock beside the elements.
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
   * A lock that travels with the elements: true for a new one, false for none, or one that there is.
   *
   * @default true
   */
  readonly lock?: boolean | RLock | undefined;
}

/** What is sent of cells. */
export interface CellsHandle {
  readonly type: ElementType;
  readonly length: number;
  readonly address: SegmentAddress;
  readonly lock: RLock | undefined;
}

/** The operations of `Atomics` that are used, which take arrays over any memory. */
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

/** Elements in shared memory. */
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

  /** New elements, all 0. */
  static create<T extends ElementType>(
    className: string,
    type: T,
    length: number,
    options: LockOptions,
  ): TypedCells<T> {
    const reason = whyNoSharedMemory();
    if (reason !== undefined) throw new CapabilityError(`${className} needs memory that processes share: ${reason}`);
    const { lock = true } = options;
    const memory = SharedSegment.create(Math.max(1, length * elementSize(type)));
    return new TypedCells(
      className,
      type,
      length,
      memory,
      lock === true ? new RLock() : lock === false ? undefined : lock,
    );
  }

  /** Elements that another process sent. */
  static attach(className: string, { type, length, address, lock }: CellsHandle): TypedCells<ElementType> {
    return new TypedCells(className, type, length, SharedSegment.attach(address), lock);
  }

  /** The elements, which are the memory itself. */
  get array(): ArrayOf<T> {
    if (this.#isClosed) {
      throw new SharedMemoryError(`${this.#className} was used after close()`, { code: "ERR_SHARED_MEMORY_CLOSED" });
    }
    return this.#array;
  }

  get lock(): RLock {
    if (this.#lock !== undefined) return this.#lock;
    throw new TypeError(`This ${this.#className} was made without a lock: leave out lock: false`);
  }

  get(index: number): ElementOf<T> {
    return (this.type.startsWith("f") ? this.array[index] : this.atomics("get()").load(this.array, index)) as never;
  }

  set(call: string, index: number, value: ElementOf<T>): void {
    checkElement(call, this.type, value);
    if (this.type.startsWith("f")) this.array[index] = value;
    else this.atomics(call).store(this.array, index, value);
  }

  /** The atomic operations, if the type has them. */
  atomics(call: string): AtomicOperations<T> {
    if (!this.type.startsWith("f")) return Atomics as unknown as AtomicOperations<T>;
    throw new TypeError(`${call} is not there for ${this.type}: hold the lock, and set the value`);
  }

  handle(): CellsHandle {
    this.array; // refused after close()
    return { type: this.type, length: this.length, address: this.#memory.address(), lock: this.#lock };
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#memory.close();
  }
}
