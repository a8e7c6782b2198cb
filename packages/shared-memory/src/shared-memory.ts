import { CapabilityError } from "@multiproc/core";
import {
  type AtForkHooks,
  checkOptions,
  describeValue,
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
import { Received } from "./received.ts";

/**
 * Options of {@link SharedMemory}: `create` and `size` create memory, `name` alone opens it.
 *
 * @example Memory with a random name
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
  /** The name of the memory. @default a random name for new memory */
  readonly name?: string | undefined;
  /** Whether to create the memory. @default false */
  readonly create?: boolean | undefined;
  /** The size of new memory in bytes. Required with `create: true`. */
  readonly size?: number | undefined;
}

/** Named memory in encoded form, as part of a message. */
interface NamedHandle {
  readonly name: string;
  readonly address: SegmentAddress;
}

/** Set in a static block of the class, because the hooks use private members. */
let AT_FORK_HOOKS: AtForkHooks<SharedMemory>;
/** Deletes the file with which this process holds the name, when an object is garbage-collected. */
const finalization = new FinalizationRegistry((finalizer: () => void) => finalizer());

const OPTIONS = ["name", "create", "size"];

/**
 * Memory that any process of the same user can open by its name, on Node and Deno.
 *
 * `buf` is the memory itself: a write in one process is visible in all others at once. The memory is
 * freed when the last process that uses it has closed it or ended, even by SIGKILL. Memory that a
 * process still uses is never freed. An object that is sent to another process arrives opened.
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
  /** The name of the memory. */
  readonly name: string;
  /** The size in bytes. */
  readonly size: number;
  #named: NamedSegment;
  #bytes: Uint8Array | undefined;

  /**
   * Creates memory filled with zeros, or opens existing memory.
   *
   * @throws {CapabilityError} where processes cannot share memory, with the reason
   * @throws {SharedMemoryError} `ERR_SHARED_MEMORY_EXISTS` if the name is taken,
   * `ERR_SHARED_MEMORY_NOT_FOUND` if no memory has this name
   * @throws {RangeError} if `size` is not a number of bytes
   * @throws {TypeError} for an unknown or wrong option, and without both `name` and `create`
   * @throws {ProcessError} `ERR_MEMORY` if the system has not enough memory left
   */
  constructor(options: SharedMemoryOptions = {}) {
    const handle = options instanceof Received ? (options.handle as NamedHandle) : undefined;
    if (handle === undefined) checkSharedMemoryOptions(options);
    const reason = whyNoSharedMemory();
    if (reason !== undefined)
      throw new CapabilityError(`new SharedMemory() needs memory that processes share: ${reason}`);
    if (handle !== undefined) this.#named = NamedSegment.adopt(handle.name, SharedSegment.attach(handle.address));
    else this.#named = options.create ? createNamed(options.name, options.size ?? 0) : openNamed(options.name);
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
        // The forked child uses the memory too, so it registers itself as another user of the name.
        if (memory.#bytes === undefined) return;
        finalization.unregister(memory);
        memory.#named = NamedSegment.adopt(memory.name, memory.#named.memory);
        finalization.register(memory, memory.#named.finalizer, memory);
      },
    };
  }

  /**
   * The memory itself. For other element types, create typed arrays over `memory.buf.buffer`. All of
   * them have length 0 once every object for this memory is closed in this process.
   *
   * @throws {SharedMemoryError} `ERR_SHARED_MEMORY_CLOSED` after `close()`
   */
  get buf(): Uint8Array<ArrayBuffer> {
    if (this.#bytes === undefined) throw closedError(`buf was read on shared memory "${this.name}"`);
    return this.#bytes as Uint8Array<ArrayBuffer>;
  }

  /** Releases the memory in this process. Further calls do nothing. */
  close(): void {
    if (this.#bytes === undefined) return;
    this.#bytes = undefined;
    finalization.unregister(this);
    this.#named.release();
  }

  /** Removes the name. Processes that use the memory keep it, and no other can open it. */
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
    if (this.#bytes === undefined) throw closedError(`send() was called with shared memory "${this.name}"`);
    const data: NamedHandle = { name: this.name, address: this.#named.memory.address() };
    return { kind: "shared-memory.SharedMemory", module: MODULE, data };
  }
}

registerReviver("shared-memory.SharedMemory", (handle) => new SharedMemory(new Received(handle) as never));

function checkSharedMemoryOptions(options: SharedMemoryOptions): void {
  const call = "new SharedMemory()";
  checkOptions(call, options, OPTIONS);
  const { name, create, size } = options;
  if (create !== undefined && typeof create !== "boolean")
    throw new TypeError(`${call} takes true or false as create, not ${describeValue(create)}`);
  if (name !== undefined) checkName(call, name);
  if (create === true) {
    if (!(Number.isInteger(size) && (size as number) > 0))
      throw new RangeError(`${call} takes a size of 1 or more bytes to create memory, not ${String(size)}`);
    return;
  }
  if (name === undefined) throw new TypeError(`${call} takes a name to open memory, or create: true to create it`);
  // A size with create: false is allowed, so that all processes can pass { name, create: isFirst, size }.
  if (size !== undefined && create === undefined)
    throw new TypeError(`${call} takes a size only to create memory: add create: true, or leave out size`);
}

function createNamed(name: string | undefined, size: number): NamedSegment {
  const memory = SharedSegment.create(size);
  const named = NamedSegment.create(name ?? randomName(), memory);
  if (named !== undefined) return named;
  memory.close();
  throw new SharedMemoryError(
    `new SharedMemory() cannot create "${name}", which exists: open it without create, or choose another name`,
    {
      code: "ERR_SHARED_MEMORY_EXISTS",
    },
  );
}

function openNamed(name: string | undefined): NamedSegment {
  const named = NamedSegment.open(name as string);
  if (named !== undefined) return named;
  throw new SharedMemoryError(
    `new SharedMemory() found no memory "${name}", because no process uses it: create it with create: true, and keep it open`,
    { code: "ERR_SHARED_MEMORY_NOT_FOUND" },
  );
}

function checkName(call: string, name: string): void {
  if (typeof name !== "string" || name === "" || /[/\0]/.test(name))
    throw new TypeError(`${call} takes a name without "/", not ${JSON.stringify(name)}`);
}

/** Returns a random name in Python's format. */
function randomName(): string {
  return `psm_${randomToken(8)}`;
}

function closedError(subject: string): SharedMemoryError {
  return new SharedMemoryError(`${subject} after close(): use it first, and close it then`, {
    code: "ERR_SHARED_MEMORY_CLOSED",
  });
}
