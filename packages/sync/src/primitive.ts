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
import { RemoteLink } from "./remote/primitive-client.ts";
import { Home, type Servant } from "./remote/primitive-server.ts";

/** A value that is there at once where the primitive lives in shared memory, and takes a promise where another serves it. */
export type MaybePromise<T> = T | Promise<T>;

/** How primitives of one kind are made; `L` is what their methods are built on. */
export interface Kind<L extends object> {
  readonly name: string;
  /** How many bytes of memory one takes. */
  readonly size: number;
  /** On memory, which is all zeros at first. */
  open(memory: SharedSegment): L & Servant;
  /** On a primitive that another process serves. */
  reach(remote: RemoteLink): L;
  /** Sets a new one up, on memory that nobody else knows yet. */
  begin?(link: L): void;
}

/** Where a primitive is, for other processes; plain data. */
export interface Place {
  readonly memory: SegmentAddress | undefined;
  readonly home: EndpointAddress | undefined;
}

interface Seat<L> {
  readonly link: L;
  readonly memory?: SharedSegment;
  readonly home?: Home;
  readonly remote?: RemoteLink;
}

/** The place of the primitive that is being revived; the constructor takes it. */
let reviving: Place | undefined;

/** Makes an object for a primitive that is somewhere already. */
export function revive<T>(place: Place, make: () => T): T {
  reviving = place;
  try {
    return make();
  } finally {
    reviving = undefined;
  }
}

/** Both set by the class, whose private parts they use. */
let HERITAGE: AtForkHooks<Primitive>;
let seatOf: (primitive: Primitive) => Seat<object>;

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
  readonly #kind: Kind<object>;
  #seat: Seat<object>;
  /** That of the seat, until it is closed. Every call needs it, so it is near at hand. */
  #link: object | undefined;
  /** By what a forked child reaches a primitive whose memory it cannot see. */
  #invitation: EndpointAddress | undefined;

  /**
   * Made by the classes that extend it.
   *
   * @param kind how primitives of the class are made
   * @internal
   */
  constructor(kind: object) {
    this.#kind = kind as Kind<object>;
    this.#seat = reviving === undefined ? create(this.#kind) : attach(this.#kind, reviving);
    this.#link = this.#seat.link;
    reviving = undefined;
    registerAtFork<Primitive>(this, HERITAGE);
  }

  static {
    seatOf = (primitive) => primitive.#seat;
    HERITAGE = {
      prepare(primitive) {
        const { memory, home, remote } = primitive.#seat;
        if (primitive.#link === undefined || memory?.isShared === true) return;
        primitive.#invitation = remote?.invitation ?? home?.invitation();
      },
      inChild(primitive) {
        if (primitive.#invitation === undefined) return;
        primitive.#seat = reach(primitive.#kind, primitive.#invitation);
        primitive.#link = primitive.#seat.link;
        primitive["multiproc:moved"]();
      },
    };
  }

  /**
   * Whether this process works on shared memory, or has a home process do it: `"memory"` or `"home"`. Calls that block the
   * thread need shared memory.
   */
  get form(): "memory" | "home" {
    return this.#seat.memory?.isShared === true ? "memory" : "home";
  }

  /**
   * Releases it in this process; others are not touched. Waits that go on here end with an error. What is not closed is
   * released when it is garbage, but for what was sent to another process.
   */
  close(): void {
    if (this.#link === undefined) return;
    this.#link = undefined;
    this["multiproc:moved"]();
    const { memory, remote } = this.#seat;
    memory?.close();
    remote?.close();
  }

  /** Releases it in this process. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** Called when what its methods are built on is another, or nothing any more. @internal */
  "multiproc:moved"(): void {}

  /** What its methods are built on; refused after `close()`. @internal */
  "multiproc:link"(call: string): object {
    if (this.#link === undefined) throw new SyncClosedError(`${call} was called after close()`);
    return this.#link;
  }
}

/** What a primitive's methods are built on; refused after `close()`. */
export function linkOf<L>(primitive: Primitive, call: string): L {
  return primitive["multiproc:link"](call) as L;
}

/** Where other processes find a primitive. */
export function placeOf(primitive: Primitive): Place {
  linkOf(primitive, "Sending it"); // not after close()
  const { memory, home, remote } = seatOf(primitive);
  const address = memory?.isShared === true ? memory.address() : undefined;
  return { memory: address, home: remote?.invitation ?? inviteIfPossible(home, address !== undefined) };
}

/** Refuses a call that blocks the thread where nothing could end it. */
export function assertMemory(primitive: Primitive, call: string, instead: string): void {
  if (primitive.form === "home") requireMemory(call, instead);
}

/** A process that may not listen relies on the memory, if there is some. */
function inviteIfPossible(home: Home | undefined, hasMemory: boolean): EndpointAddress | undefined {
  try {
    return home?.invitation();
  } catch (error) {
    if (hasMemory) return undefined;
    throw error;
  }
}

afterForkInChild(() => RemoteLink.forgetAll());

function create<L extends object>(kind: Kind<L>): Seat<L> {
  const isShared = whyNoSharedMemory() === undefined;
  const seat = sit(kind, isShared ? SharedSegment.create(kind.size) : SharedSegment.processLocal(kind.size));
  kind.begin?.(seat.link);
  return seat;
}

function sit<L extends object>(kind: Kind<L>, memory: SharedSegment): Seat<L> {
  const link = memory.singleton(kind.name, () => kind.open(memory));
  const home = memory.singleton("home", () => {
    const home = new Home(link);
    memory.onClose(() => home.close());
    return home;
  });
  return { link, memory, home };
}

function attach<L extends object>(kind: Kind<L>, { memory, home }: Place): Seat<L> {
  if (memory !== undefined && whyNoSharedMemory() === undefined) {
    try {
      return sit(kind, SharedSegment.attach(memory));
    } catch (error) {
      if (home === undefined) throw error;
    }
  }
  if (home !== undefined) return reach(kind, home);
  throw new CapabilityError(
    `A ${kind.name} cannot be used here: ${whyNoSharedMemory()}; and the process that sent it may not listen for others`,
  );
}

function reach<L extends object>(kind: Kind<L>, invitation: EndpointAddress): Seat<L> {
  const remote = RemoteLink.reach(invitation);
  return { link: remote.part(kind.name, () => kind.reach(remote)), remote };
}

/** Refuses a call that blocks the thread where nothing could end it. */
export function requireMemory(call: string, instead: string): never {
  const why = whyNoSharedMemory() ?? "its memory cannot be opened by this process";
  throw new CapabilityError(`${call} needs shared memory, which is not to be had here (${why}): use ${instead}`);
}
