/**
 * What all primitives have in common: where they live, and how they pass to other processes.
 *
 * A primitive lives in shared memory where that is to be had, and every process that opened the memory works on it by itself.
 * A process that cannot (no way to libc, or no leave to use it) has another process, the *home*, do it: the one that sent the
 * primitive, over a channel. Where the process that made the primitive has no shared memory, it is the home for all.
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

/** A value that is there at once where the primitive lives in shared memory, and takes a promise where another serves it. */
export type MaybePromise<T> = T | Promise<T>;

/** How primitives of one kind are made; `L` is what their methods are built on. */
export interface PrimitiveKind<L extends object> {
  readonly name: string;
  /** How many bytes of memory one takes. */
  readonly size: number;
  /** On memory, which is all zeros at first. */
  open(memory: SharedSegment): L & RequestHandler;
  /** On a primitive that another process serves. */
  connect(client: PrimitiveClient): L;
  /** Sets a new one up, on memory that nobody else knows yet. */
  init?(backend: L): void;
}

/** Where a primitive is, for other processes; plain data. */
export interface PrimitiveAddress {
  readonly memory: SegmentAddress | undefined;
  readonly endpoint: EndpointAddress | undefined;
}

interface Attachment<L> {
  readonly backend: L;
  readonly memory?: SharedSegment;
  readonly server?: PrimitiveServer;
  readonly client?: PrimitiveClient;
}

/** The place of the primitive that is being revived; the constructor takes it. */
let attachingAt: PrimitiveAddress | undefined;

/** Makes an object for a primitive that is somewhere already. */
export function attachAt<T>(address: PrimitiveAddress, make: () => T): T {
  attachingAt = address;
  try {
    return make();
  } finally {
    attachingAt = undefined;
  }
}

/** Both set by the class, whose private parts they use. */
let AT_FORK_HOOKS: AtForkHooks<Primitive>;
let attachmentOf: (primitive: Primitive) => Attachment<object>;

/**
 * What locks, semaphores, conditions, events and barriers have in common.
 *
 * @example Where a primitive lives
 * ```ts
 * import { Event, type Primitive } from "@multiproc/sync";
 *
 * const isShared = (primitive: Primitive) => primitive.form === "memory";
 * const event = new Event();
 * console.log(isShared(event) || event.form === "home"); // true
 * event.close();
 * ```
 */
export abstract class Primitive {
  readonly #kind: PrimitiveKind<object>;
  #attachment: Attachment<object>;
  /** That of the seat, until it is closed. Every call needs it, so it is near at hand. */
  #backend: object | undefined;
  /** By what a forked child reaches a primitive whose memory it cannot see. */
  #endpoint: EndpointAddress | undefined;

  /**
   * Made by the classes that extend it.
   *
   * @param kind how primitives of the class are made
   * @internal
   */
  constructor(kind: object) {
    this.#kind = kind as PrimitiveKind<object>;
    this.#attachment = attachingAt === undefined ? createLocal(this.#kind) : attach(this.#kind, attachingAt);
    this.#backend = this.#attachment.backend;
    attachingAt = undefined;
    registerAtFork<Primitive>(this, AT_FORK_HOOKS);
  }

  static {
    attachmentOf = (primitive) => primitive.#attachment;
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
        primitive["multiproc:moved"]();
      },
    };
  }

  /**
   * Whether this process works on shared memory, or has a home process do it: `"memory"` or `"home"`. Calls that block the
   * thread need shared memory.
   */
  get backend(): "memory" | "home" {
    return this.#attachment.memory?.isShared === true ? "memory" : "home";
  }

  /**
   * Releases it in this process; others are not touched. Waits that go on here end with an error. What is not closed is
   * released when it is garbage, but for what was sent to another process.
   */
  close(): void {
    if (this.#backend === undefined) return;
    this.#backend = undefined;
    this["multiproc:moved"]();
    const { memory, client } = this.#attachment;
    memory?.close();
    client?.close();
  }

  /** Releases it in this process. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** Called when what its methods are built on is another, or nothing any more. @internal */
  "multiproc:moved"(): void {}

  /** What its methods are built on; refused after `close()`. @internal */
  "multiproc:link"(call: string): object {
    if (this.#backend === undefined) throw new SyncClosedError(`${call} was called after close()`);
    return this.#backend;
  }
}

/** What a primitive's methods are built on; refused after `close()`. */
export function backendOf<L>(primitive: Primitive, call: string): L {
  return primitive["multiproc:link"](call) as L;
}

/** Where other processes find a primitive. */
export function addressOf(primitive: Primitive): PrimitiveAddress {
  backendOf(primitive, "Sending it"); // not after close()
  const { memory, server, client } = attachmentOf(primitive);
  const segmentAddress = memory?.isShared === true ? memory.address() : undefined;
  return {
    memory: segmentAddress,
    endpoint: client?.endpoint ?? endpointIfPossible(server, segmentAddress !== undefined),
  };
}

/** Refuses a call that blocks the thread where nothing could end it. */
export function assertSharedMemory(primitive: Primitive, call: string, alternative: string): void {
  if (primitive.backend === "home") requireSharedMemory(call, alternative);
}

/** A process that may not listen relies on the memory, if there is some. */
function endpointIfPossible(server: PrimitiveServer | undefined, hasMemory: boolean): EndpointAddress | undefined {
  try {
    return server?.endpoint();
  } catch (error) {
    if (hasMemory) return undefined;
    throw error;
  }
}

afterForkInChild(() => PrimitiveClient.resetAfterFork());

function createLocal<L extends object>(kind: PrimitiveKind<L>): Attachment<L> {
  const isShared = whyNoSharedMemory() === undefined;
  const attachment = attachLocal(
    kind,
    isShared ? SharedSegment.create(kind.size) : SharedSegment.processLocal(kind.size),
  );
  kind.init?.(attachment.backend);
  return attachment;
}

function attachLocal<L extends object>(kind: PrimitiveKind<L>, memory: SharedSegment): Attachment<L> {
  const backend = memory.singleton(kind.name, () => kind.open(memory));
  const server = memory.singleton("sync.server", () => {
    const server = new PrimitiveServer(backend);
    memory.onClose(() => server.close());
    return server;
  });
  return { backend, memory, server };
}

function attach<L extends object>(kind: PrimitiveKind<L>, { memory, endpoint }: PrimitiveAddress): Attachment<L> {
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

function attachRemote<L extends object>(kind: PrimitiveKind<L>, endpoint: EndpointAddress): Attachment<L> {
  const client = PrimitiveClient.forEndpoint(endpoint);
  return { backend: client.singleton(kind.name, () => kind.connect(client)), client };
}

/** Refuses a call that blocks the thread where nothing could end it. */
export function requireSharedMemory(call: string, alternative: string): never {
  const reason = whyNoSharedMemory() ?? "its memory cannot be opened by this process";
  throw new CapabilityError(`${call} needs shared memory, which is not to be had here (${reason}): use ${alternative}`);
}
