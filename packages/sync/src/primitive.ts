/**
 * The base of all primitives: where a primitive is stored, and how other processes reach it.
 *
 * A primitive is in shared memory if that is available, and each process that maps the memory works
 * on it directly. A process that cannot map it (no access to libc, or no permission) sends
 * requests to the process that sent the primitive. If the process that created the primitive has no
 * shared memory, it serves all others.
 *
 * ```text
 *   process A ──┐                     process D ── requests ──> process C
 *   process B ──┼── shared memory     (cannot map the memory)
 *   process C ──┘
 * ```
 *
 * An *attachment* is the access of one process to one primitive: the mapped memory, or a client of
 * the serving process. The *backend* of a primitive has its operations, for either kind of attachment.
 */
import { CapabilityError } from "@multiproc/core";
import {
  type AtForkHooks,
  afterForkInChild,
  type EndpointAddress,
  registerAtFork,
  type SegmentAddress,
  SharedSegment,
  whyNoSharedMemory,
} from "@multiproc/core/internal";
import { SyncClosedError } from "./errors.ts";
import { PrimitiveClient } from "./remote/primitive-client.ts";
import { PrimitiveServer, type RequestHandler } from "./remote/primitive-server.ts";

/**
 * The result of a backend's operation: a value in shared memory, a promise if another process
 * serves the primitive.
 */
export type MaybePromise<T> = T | Promise<T>;

/**
 * The result of a change in shared memory, which is in effect when the call returns. All such calls
 * return this promise, which avoids an allocation.
 */
export const RESOLVED: Promise<void> = Promise.resolve();

/** A kind of primitive, such as locks: creates the backends, of type `B`. */
export interface PrimitiveKind<B extends object> {
  readonly name: string;
  /** The size of its memory, in bytes. */
  readonly size: number;
  /** Creates the backend on memory, which is zero-filled at first. */
  open(memory: SharedSegment): B & RequestHandler;
  /** Creates the backend of a primitive that another process serves. */
  connect(client: PrimitiveClient): B;
  /** Initializes a new primitive before any other process has it. */
  init?(backend: B): void;
}

/** The address of a primitive for other processes: plain data. */
export interface PrimitiveAddress {
  readonly memory: SegmentAddress | undefined;
  readonly endpoint: EndpointAddress | undefined;
}

interface Attachment<B> {
  readonly backend: B;
  readonly memory?: SharedSegment;
  readonly server?: PrimitiveServer;
  readonly client?: PrimitiveClient;
}

/** The address of a received primitive, while its constructor runs. */
let attachingAt: PrimitiveAddress | undefined;

/** Creates an object for an existing primitive. */
export function attachAt<T>(address: PrimitiveAddress, make: () => T): T {
  attachingAt = address;
  try {
    return make();
  } finally {
    attachingAt = undefined;
  }
}

// The class sets these three, because they use its private members.
let AT_FORK_HOOKS: AtForkHooks<Primitive>;
let attachmentOf: (primitive: Primitive) => Attachment<object>;
let openBackendOf: (primitive: Primitive) => object | undefined;

/**
 * The base class of locks, semaphores, conditions, events and barriers.
 *
 * @internal
 */
export abstract class Primitive {
  readonly #kind: PrimitiveKind<object>;
  readonly #onDetach: ((primitive: never) => void) | undefined;
  #attachment: Attachment<object>;
  /**
   * The backend of the attachment, until `close()`. Every call needs it, so it has a field of its
   * own.
   */
  #backend: object | undefined;
  /**
   * The endpoint that a forked child dials if the memory is not shared. It is exposed before the
   * fork.
   */
  #endpoint: EndpointAddress | undefined;

  /**
   * For the subclasses.
   *
   * @param kind a {@link PrimitiveKind}
   * @param onDetach called with this object when its backend is closed or replaced
   * @internal
   */
  constructor(kind: object, onDetach?: (primitive: never) => void) {
    this.#kind = kind as PrimitiveKind<object>;
    this.#onDetach = onDetach;
    this.#attachment = attachingAt === undefined ? createLocal(this.#kind) : attach(this.#kind, attachingAt);
    this.#backend = this.#attachment.backend;
    attachingAt = undefined;
    registerAtFork<Primitive>(this, AT_FORK_HOOKS);
  }

  static {
    attachmentOf = (primitive) => primitive.#attachment;
    openBackendOf = (primitive) => primitive.#backend;
    AT_FORK_HOOKS = {
      prepare(primitive) {
        const { memory, server, client } = primitive.#attachment;
        if (primitive.#backend === undefined || memory?.isShared === true) return;
        primitive.#endpoint = client?.endpoint ?? server?.endpoint();
      },
      inChild(primitive) {
        if (primitive.#endpoint === undefined) return;
        primitive.#attachment = attachRemote(primitive.#kind, primitive.#endpoint);
        primitive.#backend = primitive.#attachment.backend;
        primitive.#onDetach?.(primitive as never);
      },
    };
  }

  /**
   * Where this process reaches the primitive: in `"shared-memory"`, or at a `"server"`. The server is
   * the owner process, or the process that sent the primitive if it has shared memory. Without
   * shared memory, the owner process also reports `"server"`. Calls that block need shared memory.
   */
  get backend(): "shared-memory" | "server" {
    return this.#attachment.memory?.isShared === true ? "shared-memory" : "server";
  }

  /**
   * Releases the primitive in this process. Its waits reject once all objects of the primitive in
   * this process are closed. Other processes are not affected. Shared memory that is not closed is
   * released by garbage collection, unless the primitive was sent to another process.
   */
  close(): void {
    if (this.#backend === undefined) return;
    this.#backend = undefined;
    this.#onDetach?.(this as never);
    const { memory, client } = this.#attachment;
    memory?.close();
    client?.close();
  }

  /** Releases the primitive in this process. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Returns the backend of a primitive.
 *
 * @throws {SyncClosedError} after `close()`
 */
export function backendOf<B>(primitive: Primitive, call: string): B {
  const backend = openBackendOf(primitive);
  if (backend === undefined) throw new SyncClosedError(`${call} was called after close()`);
  return backend as B;
}

/** Returns the address at which other processes reach a primitive. */
export function addressOf(primitive: Primitive): PrimitiveAddress {
  backendOf(primitive, "Sending it"); // throws after close()
  const { memory, server, client } = attachmentOf(primitive);
  const segmentAddress = memory?.isShared === true ? memory.address() : undefined;
  return {
    memory: segmentAddress,
    endpoint: client?.endpoint ?? endpointIfPossible(server, segmentAddress !== undefined),
  };
}

/**
 * Checks that this process has the primitive in shared memory, which calls that block need.
 *
 * @throws {CapabilityError} if it does not
 */
export function assertSharedMemory(primitive: Primitive, call: string): void {
  if (primitive.backend === "server") requireSharedMemory(call);
}

/**
 * Throws the error of a call that needs shared memory.
 *
 * @param alternative the code to write instead; by default the asynchronous method of the same name
 * @throws {CapabilityError} always
 */
export function requireSharedMemory(call: string, alternative: string = `await ${call.replace("Sync", "")}`): never {
  const reason = whyNoSharedMemory() ?? "this process cannot open the memory";
  throw new CapabilityError(`${call} needs shared memory, which is not available here (${reason}): use ${alternative}`);
}

/**
 * Exposes the endpoint of a server. If this process is not permitted to listen, other processes
 * can only use the shared memory. Without shared memory, that is an error.
 */
function endpointIfPossible(server: PrimitiveServer | undefined, hasMemory: boolean): EndpointAddress | undefined {
  try {
    return server?.endpoint();
  } catch (error) {
    if (hasMemory) return undefined;
    throw error;
  }
}

afterForkInChild(() => PrimitiveClient.resetAfterFork());

function createLocal<B extends object>(kind: PrimitiveKind<B>): Attachment<B> {
  const isShared = whyNoSharedMemory() === undefined;
  const attachment = attachLocal(
    kind,
    isShared ? SharedSegment.create(kind.size) : SharedSegment.processLocal(kind.size),
  );
  kind.init?.(attachment.backend);
  return attachment;
}

function attachLocal<B extends object>(kind: PrimitiveKind<B>, memory: SharedSegment): Attachment<B> {
  const backend = memory.singleton(kind.name, () => kind.open(memory));
  const server = memory.singleton("sync.server", () => {
    const server = new PrimitiveServer(backend);
    memory.onClose(() => server.close());
    return server;
  });
  return { backend, memory, server };
}

function attach<B extends object>(kind: PrimitiveKind<B>, { memory, endpoint }: PrimitiveAddress): Attachment<B> {
  if (memory !== undefined && whyNoSharedMemory() === undefined) {
    try {
      return attachLocal(kind, SharedSegment.attach(memory));
    } catch (error) {
      if (endpoint === undefined) throw error;
    }
  }
  if (endpoint !== undefined) return attachRemote(kind, endpoint);
  throw new CapabilityError(
    `A ${kind.name} cannot be used here: ${whyNoSharedMemory()}; and the process that sent it may not listen for others`,
  );
}

function attachRemote<B extends object>(kind: PrimitiveKind<B>, endpoint: EndpointAddress): Attachment<B> {
  const client = PrimitiveClient.forEndpoint(endpoint);
  return { backend: client.singleton(kind.name, () => kind.connect(client)), client };
}
