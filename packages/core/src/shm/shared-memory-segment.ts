/**
 * Memory that several processes have in common.
 *
 * ```text
 * const memory = Memory.create(4096);       // throws in words if the system has not that much left
 * await channel.send(kind, memory.address()); // plain data, inside any message
 * const same = Memory.attach(address);       // in the other process
 * new Int32Array(same.buffer)[0] = 1;         // seen by both at once
 * same.close();                               // all views of the buffer have length 0 from now on
 * ```
 *
 * It has no name and leaves nothing on disk: it is a memfd, or where the system has none a file that is unlinked at once, and
 * others open it through the `/proc/<pid>/fd` of any process that holds it. So it lives as long as its last holder, however
 * that one goes, and needs no `/dev/shm`. Its space is reserved when it is made: what is full is an error there, and never a
 * SIGBUS at the first touch.
 *
 * An address is good while one of the processes that it names has the memory open; those are the one that made the address,
 * and the one that made the memory. Memory that is not closed is released when its buffer is garbage.
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

/** Where memory is, for other processes; plain data. */
export interface SegmentAddress {
  /** What the system calls it, which nobody can guess and no other memory is called. */
  readonly name: string;
  readonly size: number;
  /** Processes that have it open, with the number of their file. */
  readonly openFds: ReadonlyArray<readonly [pid: number, fd: number]>;
}

/** What the system gave. */
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

/** A variable of the environment that says `off` where memory is not to be shared. */
const SHARED_MEMORY_ENV = "MULTIPROC_SHARED_MEMORY";
const MAX_SEGMENT_BYTES = 2 ** 47;
/** No look at what is left for so few bytes. */
const SKIP_FREE_CHECK_BYTES = 2 ** 16;
const linkBuffer = new Uint8Array(512);
/** What is open here, by its name: what arrives twice is there once. */
const openSegments: Map<string, WeakRef<SharedSegment>> = singleton("segments", () => new Map());
const finalization = new FinalizationRegistry((mapping: Mapping) => unmap(mapping));

/** Memory in common; see the head of this file. */
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
   * Makes memory, filled with zeros.
   *
   * @param size how many bytes
   * @throws {CapabilityError} where there is none, see {@link whyNoSharedMemory}
   * @throws {ProcessError} if the system has not that much left
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
   * Opens memory of another process, or of this one. What is open here already is given out once more, and closed when each of
   * its users has closed it.
   *
   * @throws {CapabilityError} where there is none, see {@link whyNoSharedMemory}
   * @throws {ProcessError} if no process that the address names is there and has it
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
      // What is called otherwise is not touched: another process may have that pid by now.
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
      `Shared memory cannot be reached: process ${pids} which held it is gone or has closed it, or it belongs to another user`,
      { code: "ERR_MEMORY_GONE" },
    );
  }

  /** Memory of this process alone, with the same face. */
  static processLocal(size: number): SharedSegment {
    return new SharedSegment("", new ArrayBuffer(size), undefined, []);
  }

  /** Whether other processes can open it. */
  get isShared(): boolean {
    return this.#mapping !== undefined;
  }

  get closed(): boolean {
    return this.#isClosed;
  }

  /** By what others open it; see {@link SegmentAddress}. */
  address(): SegmentAddress {
    const { fd } = this.#mapping as Mapping;
    const own = [host.pid, fd] as const;
    const creator = this.#originFds.at(-1); // the one that made it
    const isCreator = creator === undefined || (creator[0] === own[0] && creator[1] === own[1]);
    return { name: this.#name, size: this.size, openFds: isCreator ? [own] : [own, creator] };
  }

  /** The object that stands at a place in the memory; all users of this process share one, which `make` makes. */
  singleton<T extends object>(key: string, make: () => T): T {
    let instance = this.#singletons.get(key);
    if (instance === undefined) {
      instance = make();
      this.#singletons.set(key, instance);
    }
    return instance as T;
  }

  /** Calls `run` right before the memory is released here by {@link SharedSegment.close}. */
  onClose(run: () => void): void {
    this.#closeHooks.push(run);
  }

  /** Sleeps while the word at that byte has that value, at most so many milliseconds; may wake for no reason. Blocks. */
  futexWait(byteOffset: number, value: number, milliseconds: number): void {
    const { futex, start } = this.#mapping as Mapping;
    futex.wait(start + byteOffset, value, milliseconds);
  }

  /** Wakes up to so many threads, of any process, that sleep on the word at that byte; says how many. */
  futexWake(byteOffset: number, count: number): number {
    const { futex, start } = this.#mapping as Mapping;
    return futex.wake(start + byteOffset, count);
  }

  /** Releases the memory here, once each user in this process has; the buffer and its views have length 0 then. */
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

/** Whether one of the processes that the address names has that memory open. */
export function isStillOpen({ name, openFds }: SegmentAddress): boolean {
  const { native } = requireSupport();
  return openFds.some(([pid, fd]) => nameOf(native, `/proc/${pid}/fd/${fd}`) === name);
}

/** Why there is no memory in common here; undefined if there is. */
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
  throw new CapabilityError(`Memory cannot be shared between processes here: ${support}`);
}

function detectSupport(): SharedMemorySupport | string {
  if (host.env(SHARED_MEMORY_ENV) === "off") return `it is turned off by ${SHARED_MEMORY_ENV}=off`;
  const api = native();
  if (api === undefined) return whyNoNative()?.message as string;
  const futex = Futex.open(api);
  if (futex === undefined) return `it is made for Linux on x64 and arm64, and this is ${api.platform} on ${api.arch}`;
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

/** An open file of that size, with its space reserved. */
function openReserved(native: Native, size: number): number {
  const { libc } = native;
  if (size > SKIP_FREE_CHECK_BYTES && size > freeMemory(native))
    throw failure(`reserved: the system has not ${size} bytes of memory left`);
  let fd = libc.memfd_create(`multiproc-${randomToken(12)}`, MFD_CLOEXEC);
  if (fd < 0) fd = openUnlinked(native);
  let error: number;
  do error = libc.posix_fallocate(fd, 0, size);
  while (error === EINTR);
  if (error === 0) return fd;
  libc.close(fd);
  throw failure(`reserved: the system has not ${size} bytes of memory left (error ${error})`);
}

/** Where there is no memfd: a file that has a name only for a moment. */
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
  throw failure(`made: the system has no memfd, and no folder takes a file (${failures.join("; ")})`);
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

/** What the system calls an open file; undefined if there is none, or it is another user's. */
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
