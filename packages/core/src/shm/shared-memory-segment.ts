/**
 * Segments of shared memory.
 *
 * ```text
 * const segment = SharedSegment.create(4096);     // throws if the system has too little free memory
 * await channel.send(kind, segment.address());    // the address is plain data, and can be part of any message
 * const same = SharedSegment.attach(address);     // in the other process
 * new Int32Array(same.buffer)[0] = 1;             // visible in both processes
 * same.close();                                   // views of the buffer have length 0 from now on
 * ```
 *
 * A segment is a memfd, or an unlinked file where the system has no memfd. It has no name and
 * leaves nothing on disk, and it does not use `/dev/shm`. Other processes open it through
 * `/proc/<pid>/fd` of any process that has it open. The kernel frees it when the last of them
 * closes it or dies. `create()` reserves the memory: too little memory is an error of that call,
 * not a SIGBUS at the first access.
 *
 * An address is valid while one of its processes has the segment open: the process that made the
 * address, or the creator. A segment that is not closed is released when its buffer is
 * garbage-collected.
 */
import { randomToken } from "../bytes/random-token.ts";
import { CapabilityError, ProcessError } from "../errors.ts";
import { host } from "../host/mod.ts";
import {
  EINTR,
  MAP_SHARED,
  MFD_CLOEXEC,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDWR,
  PROT_READ,
  PROT_WRITE,
  SEEK_END,
} from "../native/linux.ts";
import { detach, type Native, native, whyNoNative } from "../native/mod.ts";
import { singleton } from "../registry.ts";
import { freeMemory } from "../system/free-memory.ts";
import { Futex } from "./futex.ts";

/** The address of a segment for other processes: plain data. */
export interface SegmentAddress {
  /** The name that the system shows for its descriptors. It is random, so no other file has it. */
  readonly name: string;
  readonly size: number;
  /** Processes that have the segment open, and their descriptors. */
  readonly openFds: ReadonlyArray<readonly [pid: number, fd: number]>;
}

/** The resources of a segment in this process. */
interface Mapping {
  readonly native: Native;
  readonly futex: Futex;
  readonly fd: number;
  readonly start: number;
  readonly size: number;
}

interface SharedMemorySupport {
  readonly native: Native;
  readonly futex: Futex;
}

/** The environment variable that turns shared memory off with the value `off`. */
const SHARED_MEMORY_ENV = "MULTIPROC_SHARED_MEMORY";
const MAX_SEGMENT_BYTES = 2 ** 47;
/** Segments up to this size are created without a check of the free memory. */
const MAX_UNCHECKED_BYTES = 2 ** 16;
const linkBuffer = new Uint8Array(512);
/**
 * The segments that this process has open, by name. Attaching to one of them returns the same
 * object.
 */
const openSegments: Map<string, WeakRef<SharedSegment>> = singleton("segments", () => new Map());
const finalization = new FinalizationRegistry((mapping: Mapping) => unmap(mapping));

/** A segment of shared memory; see the header of this file. */
export class SharedSegment {
  readonly buffer: ArrayBuffer;
  readonly size: number;
  readonly #name: string;
  readonly #mapping: Mapping | undefined;
  readonly #originFds: ReadonlyArray<readonly [number, number]>;
  readonly #singletons = new Map<string, object>();
  readonly #closeHooks: Array<() => void> = [];
  #useCount = 1;
  #isClosed = false;

  private constructor(
    name: string,
    buffer: ArrayBuffer,
    mapping: Mapping | undefined,
    originFds: SegmentAddress["openFds"],
  ) {
    this.#name = name;
    this.buffer = buffer;
    this.size = buffer.byteLength;
    this.#mapping = mapping;
    this.#originFds = originFds;
    if (mapping !== undefined) finalization.register(buffer, mapping, this);
    if (mapping !== undefined) openSegments.set(name, new WeakRef(this));
  }

  /**
   * Creates a segment that is filled with zeros.
   *
   * @param size its size in bytes
   * @throws {CapabilityError} if shared memory is not available, see {@link whyNoSharedMemory}
   * @throws {ProcessError} if the system has too little free memory
   */
  static create(size: number): SharedSegment {
    const support = requireSupport();
    checkSize(size);
    const fd = openReserved(support.native, size);
    try {
      const name = nameOf(support.native, `/proc/self/fd/${fd}`);
      if (name === undefined) throw failure("named: is /proc mounted?");
      const mapping = mapFd(support, fd, size);
      return new SharedSegment(name, mapping.native.view(mapping.start, size), mapping, [[host.pid, fd]]);
    } catch (error) {
      support.native.libc.close(fd);
      throw error;
    }
  }

  /**
   * Opens a segment of another process, or of this one. If this process has the segment open
   * already, the same object is returned. Each `create()` and `attach()` then needs its own
   * `close()`.
   *
   * @throws {CapabilityError} if shared memory is not available, see {@link whyNoSharedMemory}
   * @throws {ProcessError} if none of the processes in the address has the segment open
   */
  static attach(address: SegmentAddress): SharedSegment {
    const existing = openSegments.get(address.name)?.deref();
    if (existing !== undefined && !existing.#isClosed) {
      existing.#useCount += 1;
      return existing;
    }
    const support = requireSupport();
    const { libc } = support.native;
    for (const [pid, peerFd] of address.openFds) {
      const path = `/proc/${pid}/fd/${peerFd}`;
      // The pid or the descriptor may have been reused. A file with another name is not opened.
      if (nameOf(support.native, path) !== address.name) continue;
      const fd = libc.open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
      if (fd < 0) continue;
      const isLargeEnough = libc.lseek(fd, 0, SEEK_END) >= address.size;
      if (isLargeEnough && nameOf(support.native, `/proc/self/fd/${fd}`) === address.name) {
        const mapping = mapFd(support, fd, address.size);
        return new SharedSegment(
          address.name,
          support.native.view(mapping.start, mapping.size),
          mapping,
          address.openFds,
        );
      }
      libc.close(fd);
    }
    const pids = address.openFds.map(([pid]) => pid).join(" and ");
    throw new ProcessError(
      `Shared memory cannot be opened: process ${pids} has exited or closed it, or belongs to another user`,
      { code: "ERR_MEMORY_GONE" },
    );
  }

  /** Creates memory with the same interface that only this process can use. */
  static processLocal(size: number): SharedSegment {
    return new SharedSegment("", new ArrayBuffer(size), undefined, []);
  }

  /** Whether other processes can open this segment. */
  get isShared(): boolean {
    return this.#mapping !== undefined;
  }

  get closed(): boolean {
    return this.#isClosed;
  }

  /** Returns the address with which other processes open this segment. */
  address(): SegmentAddress {
    const { fd } = this.#mapping as Mapping;
    const own = [host.pid, fd] as const;
    const creator = this.#originFds.at(-1); // the creator comes last
    const isCreator = creator === undefined || (creator[0] === own[0] && creator[1] === own[1]);
    return { name: this.#name, size: this.size, openFds: isCreator ? [own] : [own, creator] };
  }

  /**
   * Returns the object of this process that manages a part of the memory. The first call with a key
   * creates it with `make`.
   */
  singleton<T extends object>(key: string, make: () => T): T {
    let instance = this.#singletons.get(key);
    if (instance === undefined) {
      instance = make();
      this.#singletons.set(key, instance);
    }
    return instance as T;
  }

  /** Calls `run` right before {@link SharedSegment.close} releases the memory. */
  onClose(run: () => void): void {
    this.#closeHooks.push(run);
  }

  /**
   * Blocks this thread while the word at `byteOffset` is `value`, at most `ms` milliseconds. It may
   * wake up spuriously.
   */
  futexWait(byteOffset: number, value: number, ms: number): void {
    const { futex, start } = this.#mapping as Mapping;
    futex.wait(start + byteOffset, value, ms);
  }

  /**
   * Wakes up to `count` threads of any process that sleep on the word at `byteOffset`, and returns
   * how many it woke.
   */
  futexWake(byteOffset: number, count: number): number {
    const { futex, start } = this.#mapping as Mapping;
    return futex.wake(start + byteOffset, count);
  }

  /**
   * Releases the segment once every user in this process has closed it. The buffer and its views
   * have length 0 then.
   */
  close(): void {
    if (this.#isClosed) return;
    this.#useCount -= 1;
    if (this.#useCount > 0) return;
    for (const run of this.#closeHooks) run();
    this.#isClosed = true;
    this.#singletons.clear();
    if (this.#mapping === undefined) return;
    if (openSegments.get(this.#name)?.deref() === this) openSegments.delete(this.#name);
    finalization.unregister(this);
    detach(this.buffer);
    unmap(this.#mapping);
  }
}

/** Returns whether one of the processes in the address has the segment open. */
export function isStillOpen({ name, openFds }: SegmentAddress): boolean {
  const { native } = requireSupport();
  return openFds.some(([pid, fd]) => nameOf(native, `/proc/${pid}/fd/${fd}`) === name);
}

/** Returns why shared memory is not available; `undefined` if it is. */
export function whyNoSharedMemory(): string | undefined {
  const support = getSupport();
  return typeof support === "string" ? support : undefined;
}

let cachedSupport: SharedMemorySupport | string | undefined;

function getSupport(): SharedMemorySupport | string {
  cachedSupport ??= detectSupport();
  return cachedSupport;
}

function requireSupport(): SharedMemorySupport {
  const support = getSupport();
  if (typeof support !== "string") return support;
  throw new CapabilityError(`Shared memory is not available: ${support}`);
}

function detectSupport(): SharedMemorySupport | string {
  if (host.env(SHARED_MEMORY_ENV) === "off") return `it is turned off by ${SHARED_MEMORY_ENV}=off`;
  const api = native();
  if (api === undefined) return whyNoNative()?.message as string;
  const futex = Futex.open(api);
  if (futex === undefined) return `it needs Linux on x64 or arm64, and this is ${api.platform} on ${api.arch}`;
  const probe = { native: api, futex };
  try {
    const fd = openReserved(api, 4096);
    try {
      if (nameOf(api, `/proc/self/fd/${fd}`) === undefined) return "/proc/self/fd cannot be read";
      unmap(mapFd(probe, fd, 4096), false);
    } finally {
      api.libc.close(fd);
    }
  } catch (error) {
    return (error as Error).message;
  }
  return probe;
}

/**
 * Opens a memfd or an unlinked file, reserves memory for `size` bytes, and returns its descriptor.
 */
function openReserved(native: Native, size: number): number {
  const { libc } = native;
  if (size > MAX_UNCHECKED_BYTES && size > freeMemory(native))
    throw failure(`reserved: the system does not have ${size} bytes of free memory`);
  let fd = libc.memfd_create(`multiproc-${randomToken(12)}`, MFD_CLOEXEC);
  if (fd < 0) fd = openUnlinked(native);
  let error: number;
  do error = libc.posix_fallocate(fd, 0, size);
  while (error === EINTR);
  if (error === 0) return fd;
  libc.close(fd);
  throw failure(`reserved: the system does not have ${size} bytes of free memory (error ${error})`);
}

/** Opens a file that is unlinked at once, for a system without memfd. */
function openUnlinked({ libc, errno }: Native): number {
  const failures: string[] = [];
  for (const folder of new Set([host.tempDir(), "/tmp", "/var/tmp", "/dev/shm"])) {
    const path = new TextEncoder().encode(`${folder}/multiproc-${randomToken(12)}-XXXXXX\0`);
    const fd = libc.mkostemp(path, O_CLOEXEC);
    if (fd >= 0) {
      libc.unlink(path);
      return fd;
    }
    failures.push(`${folder}: error ${errno()}`);
  }
  throw failure(`created: the system has no memfd, and no folder takes a file (${failures.join("; ")})`);
}

function mapFd(support: SharedMemorySupport, fd: number, size: number): Mapping {
  const { libc, errno } = support.native;
  const start = libc.mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (start === -1) throw failure(`mapped: ${size} bytes (error ${errno()})`);
  return { ...support, fd, start, size };
}

function unmap({ native: { libc }, fd, start, size }: Mapping, closesFd = true): void {
  libc.munmap(start, size);
  if (closesFd) libc.close(fd);
}

/**
 * Reads the link of a descriptor in `/proc`: the name of the open file. Returns `undefined` if the
 * descriptor is not open, or belongs to another user.
 */
function nameOf({ libc }: Native, path: string): string | undefined {
  const length = libc.readlink(path, linkBuffer, linkBuffer.length);
  return length < 0 ? undefined : host.utf8Read(linkBuffer, 0, length);
}

function checkSize(size: number): void {
  if (!Number.isInteger(size) || size <= 0 || size > MAX_SEGMENT_BYTES)
    throw new RangeError(`Shared memory takes a size of 1 or more bytes, not ${String(size)}`);
}

function failure(what: string): ProcessError {
  return new ProcessError(`Shared memory could not be ${what}`, { code: "ERR_MEMORY" });
}
