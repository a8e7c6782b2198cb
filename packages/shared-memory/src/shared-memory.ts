import { CapabilityError } from "@multiproc/core";
import {
  type AtForkHooks,
  makeShareable,
  NamedSegment,
  randomToken,
  registerAtFork,
  registerReviver,
  type SegmentAddress,
  type SharedHandle,
  SharedSegment,
  whyNoSharedMemory,
} from "@multiproc/core/internal";
import { SharedMemoryError } from "./errors.ts";
import { MODULE } from "./module-id.ts";

/**
 * How memory is made, or found.
 *
 * @example Memory with a name that nobody can guess
 * ```ts
 * import { SharedMemory, type SharedMemoryOptions } from "@multiproc/shared-memory";
 *
 * const options: SharedMemoryOptions = { create: true, size: 4096 };
 * const memory = new SharedMemory(options);
 * console.log(memory.size); // 4096
 * memory.close();
 * ```
 */
export interface SharedMemoryOptions {
  /** What it is called; without one, new memory gets a name that nobody can guess. */
  readonly name?: string | undefined;
  /** Whether to make it. @default false */
  readonly create?: boolean | undefined;
  /** How many bytes new memory has. */
  readonly size?: number | undefined;
}

/** What arrives from another process. */
interface NamedHandle {
  readonly name: string;
  readonly address: SegmentAddress;
}

/** Set by the class, whose private parts it uses. */
let AT_FORK_HOOKS: AtForkHooks<SharedMemory>;
/** Takes the file of one that is garbage away. */
const finalization = new FinalizationRegistry((finalizer: () => void) => finalizer());

/**
 * Memory that any process of the same user can open by its name, on Node and Deno.
 *
 * `buf` is the memory itself: what one process writes is there at once in all others. It is freed when the last process that
 * has it has closed it or ended, however it ended; so nothing is left behind, and nobody loses what is still in use. Sent to
 * another process, it arrives opened.
 *
 * @example Two processes work on the same bytes
 * ```ts
 * // file: tasks.ts
 * import { task } from "@multiproc/core";
 * import type { SharedMemory } from "@multiproc/shared-memory";
 *
 * export const fill = task(import.meta.url, function fill(memory: SharedMemory) {
 *   memory.buf.fill(7);
 *   memory.close();
 * });
 * // file: main.ts
 * import { Process } from "@multiproc/process";
 * import { SharedMemory } from "@multiproc/shared-memory";
 * import { fill } from "./tasks.ts";
 *
 * const memory = new SharedMemory({ create: true, size: 1024 });
 * const child = new Process({ target: fill, args: [memory] });
 * await child.start();
 * await child.join();
 * console.log(memory.buf[1023]); // 7
 * memory.close();
 * ```
 */
export class SharedMemory {
  /** What it is called. */
  readonly name: string;
  /** How many bytes it has. */
  readonly size: number;
  #named: NamedSegment;
  #bytes: Uint8Array | undefined;

  /**
   * Makes memory, filled with zeros, or finds memory that there is.
   *
   * @throws {CapabilityError} where memory cannot be shared, and says why
   * @throws {SharedMemoryError} `ERR_SHARED_MEMORY_EXISTS` if the name is taken, `ERR_SHARED_MEMORY_NOT_FOUND` if there is none
   * @throws {RangeError} for a size that is none
   * @throws {TypeError} if there is neither a name, nor is memory to be made
   * @throws {ProcessError} `ERR_MEMORY` if the system has not that much left
   */
  constructor(options: SharedMemoryOptions = {}) {
    const { name, create = false, size = 0, handle } = options as SharedMemoryOptions & { handle?: NamedHandle };
    const reason = whyNoSharedMemory();
    if (reason !== undefined) throw new CapabilityError(`SharedMemory needs memory that processes share: ${reason}`);
    if (handle !== undefined) this.#named = NamedSegment.adopt(handle.name, SharedSegment.attach(handle.address));
    else this.#named = create ? createNamed(name, size) : openNamed(name);
    this.name = this.#named.name;
    this.size = this.#named.memory.size;
    this.#bytes = new Uint8Array(this.#named.memory.buffer);
    finalization.register(this, this.#named.finalizer, this);
    registerAtFork(this, AT_FORK_HOOKS);
  }

  static {
    AT_FORK_HOOKS = {
      prepare() {},
      inChild(memory) {
        // A copy of this process has the memory too, and nobody else says so.
        if (memory.#bytes === undefined) return;
        finalization.unregister(memory);
        memory.#named = NamedSegment.adopt(memory.name, memory.#named.memory);
        finalization.register(memory, memory.#named.finalizer, memory);
      },
    };
  }

  /**
   * The memory itself. Views of other types are made on `memory.buf.buffer`. All of them have length 0 once every object of
   * this process that stands for the memory is closed.
   *
   * @throws {SharedMemoryError} `ERR_SHARED_MEMORY_CLOSED` after `close()`
   */
  get buf(): Uint8Array<ArrayBuffer> {
    if (this.#bytes === undefined) throw closedError(`buf of shared memory "${this.name}"`);
    return this.#bytes as Uint8Array<ArrayBuffer>;
  }

  /** Releases the memory in this process; does nothing the second time. */
  close(): void {
    if (this.#bytes === undefined) return;
    this.#bytes = undefined;
    finalization.unregister(this);
    this.#named.release();
  }

  /** Frees the name: nobody can open the memory by it any more, and those who have it keep it. */
  unlink(): void {
    this.#named.unlink();
  }

  /** Releases the memory in this process. */
  [Symbol.dispose](): void {
    this.close();
  }

  static {
    makeShareable(this, (memory) => memory.#toHandle());
  }

  #toHandle(): SharedHandle {
    if (this.#bytes === undefined) throw closedError(`Sending shared memory "${this.name}"`);
    const data: NamedHandle = { name: this.name, address: this.#named.memory.address() };
    return { kind: "shared-memory.SharedMemory", module: MODULE, data };
  }
}

registerReviver("shared-memory.SharedMemory", (handle) => new SharedMemory({ handle } as never));

function createNamed(name: string | undefined, size: number): NamedSegment {
  if (!(Number.isInteger(size) && size > 0))
    throw new RangeError(`SharedMemory takes a size of 1 or more bytes to make memory, not ${String(size)}`);
  if (name !== undefined) checkName(name);
  const memory = SharedSegment.create(size);
  const named = NamedSegment.create(name ?? randomName(), memory);
  if (named !== undefined) return named;
  memory.close();
  throw new SharedMemoryError(`Shared memory "${name}" exists already: open it without create, or take another name`, {
    code: "ERR_SHARED_MEMORY_EXISTS",
  });
}

function openNamed(name: string | undefined): NamedSegment {
  if (name === undefined) throw new TypeError("SharedMemory takes a name, or create: true to make new memory");
  checkName(name);
  const named = NamedSegment.open(name);
  if (named !== undefined) return named;
  throw new SharedMemoryError(
    `There is no shared memory "${name}": it was never made, or freed when the last process that had it closed it or ended`,
    { code: "ERR_SHARED_MEMORY_NOT_FOUND" },
  );
}

function checkName(name: string): void {
  if (typeof name !== "string" || name === "" || /[/\0]/.test(name))
    throw new TypeError(`The name of shared memory is text without "/", not ${JSON.stringify(name)}`);
}

/** As in Python. */
function randomName(): string {
  return `psm_${randomToken(8)}`;
}

function closedError(subject: string): SharedMemoryError {
  return new SharedMemoryError(`${subject} was asked for after close()`, { code: "ERR_SHARED_MEMORY_CLOSED" });
}
