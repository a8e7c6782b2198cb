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
import { detach, missingNative, type Native, native } from "../native/mod.ts";
import { singleton } from "../registry.ts";
import { freeMemory } from "../system/free-memory.ts";
import { Futex } from "./futex.ts";

/** Where memory is, for other processes; plain data. */
export interface MemoryAddress {
  /** What the system calls it, which nobody can guess and no other memory is called. */
  readonly name: string;
  readonly size: number;
  /** Processes that have it open, with the number of their file. */
  readonly holders: ReadonlyArray<readonly [pid: number, file: number]>;
}

/** What the system gave. */
interface Mapping {
  readonly native: Native;
  readonly futex: Futex;
  readonly file: number;
  readonly start: number;
  readonly size: number;
}

interface Port {
  readonly native: Native;
  readonly futex: Futex;
}

/** A variable of the environment that says `off` where memory is not to be shared. */
const SWITCH = "MULTIPROC_SHARED_MEMORY";
const LARGEST = 2 ** 47;
/** No look at what is left for so few bytes. */
const LITTLE = 2 ** 16;
const link = new Uint8Array(512);
/** What is open here, by its name: what arrives twice is there once. */
const opened: Map<string, WeakRef<Memory>> = singleton("memories", () => new Map());
const lost = new FinalizationRegistry((mapping: Mapping) => unmap(mapping));

/** Memory in common; see the head of this file. */
export class Memory {
  readonly buffer: ArrayBuffer;
  readonly size: number;
  readonly #name: string;
  readonly #mapping: Mapping | undefined;
  readonly #origin: ReadonlyArray<readonly [number, number]>;
  readonly #parts = new Map<string, object>();
  readonly #closing: Array<() => void> = [];
  #holders = 1;
  #isClosed = false;

  private constructor(
    name: string,
    buffer: ArrayBuffer,
    mapping: Mapping | undefined,
    origin: MemoryAddress["holders"],
  ) {
    this.#name = name;
    this.buffer = buffer;
    this.size = buffer.byteLength;
    this.#mapping = mapping;
    this.#origin = origin;
    if (mapping !== undefined) lost.register(buffer, mapping, this);
    if (mapping !== undefined) opened.set(name, new WeakRef(this));
  }

  /**
   * Makes memory, filled with zeros.
   *
   * @param size how many bytes
   * @throws {CapabilityError} where there is none, see {@link missingMemory}
   * @throws {ProcessError} if the system has not that much left
   */
  static create(size: number): Memory {
    const port = requirePort();
    checkSize(size);
    const file = open(port.native, size);
    try {
      const name = nameOf(port.native, `/proc/self/fd/${file}`);
      if (name === undefined) throw failure("named: is /proc mounted?");
      const mapping = map(port, file, size);
      return new Memory(name, mapping.native.view(mapping.start, size), mapping, [[host.pid, file]]);
    } catch (error) {
      port.native.libc.close(file);
      throw error;
    }
  }

  /**
   * Opens memory of another process, or of this one. What is open here already is given out once more, and closed when each of
   * its users has closed it.
   *
   * @throws {CapabilityError} where there is none, see {@link missingMemory}
   * @throws {ProcessError} if no process that the address names is there and has it
   */
  static attach(address: MemoryAddress): Memory {
    const here = opened.get(address.name)?.deref();
    if (here !== undefined && !here.#isClosed) {
      here.#holders += 1;
      return here;
    }
    const port = requirePort();
    const { libc } = port.native;
    for (const [pid, number] of address.holders) {
      const path = `/proc/${pid}/fd/${number}`;
      // What is called otherwise is not touched: another process may have that pid by now.
      if (nameOf(port.native, path) !== address.name) continue;
      const file = libc.open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
      if (file < 0) continue;
      const isWhole = libc.lseek(file, 0, SEEK_END) >= address.size;
      if (isWhole && nameOf(port.native, `/proc/self/fd/${file}`) === address.name) {
        const mapping = map(port, file, address.size);
        return new Memory(address.name, port.native.view(mapping.start, mapping.size), mapping, address.holders);
      }
      libc.close(file);
    }
    const pids = address.holders.map(([pid]) => pid).join(" and ");
    throw new ProcessError(
      `Shared memory cannot be reached: process ${pids} which held it is gone or has closed it, or it belongs to another user`,
      { code: "ERR_MEMORY_GONE" },
    );
  }

  /** Memory of this process alone, with the same face. */
  static local(size: number): Memory {
    return new Memory("", new ArrayBuffer(size), undefined, []);
  }

  /** Whether other processes can open it. */
  get isShared(): boolean {
    return this.#mapping !== undefined;
  }

  get closed(): boolean {
    return this.#isClosed;
  }

  /** By what others open it; see {@link MemoryAddress}. */
  address(): MemoryAddress {
    const { file } = this.#mapping as Mapping;
    const own = [host.pid, file] as const;
    const origin = this.#origin.at(-1); // the one that made it
    const isOrigin = origin === undefined || (origin[0] === own[0] && origin[1] === own[1]);
    return { name: this.#name, size: this.size, holders: isOrigin ? [own] : [own, origin] };
  }

  /** The object that stands at a place in the memory; all users of this process share one, which `make` makes. */
  part<T extends object>(place: string, make: () => T): T {
    let part = this.#parts.get(place);
    if (part === undefined) {
      part = make();
      this.#parts.set(place, part);
    }
    return part as T;
  }

  /** Calls `run` right before the memory is released here by {@link Memory.close}. */
  onClose(run: () => void): void {
    this.#closing.push(run);
  }

  /** Sleeps while the word at that byte has that value, at most so many milliseconds; may wake for no reason. Blocks. */
  sleep(at: number, value: number, milliseconds: number): void {
    const { futex, start } = this.#mapping as Mapping;
    futex.wait(start + at, value, milliseconds);
  }

  /** Wakes up to so many threads, of any process, that sleep on the word at that byte; says how many. */
  wake(at: number, count: number): number {
    const { futex, start } = this.#mapping as Mapping;
    return futex.wake(start + at, count);
  }

  /** Releases the memory here, once each user in this process has; the buffer and its views have length 0 then. */
  close(): void {
    if (this.#isClosed) return;
    this.#holders -= 1;
    if (this.#holders > 0) return;
    for (const run of this.#closing) run();
    this.#isClosed = true;
    this.#parts.clear();
    if (this.#mapping === undefined) return;
    if (opened.get(this.#name)?.deref() === this) opened.delete(this.#name);
    lost.unregister(this);
    detach(this.buffer);
    unmap(this.#mapping);
  }
}

/** Whether one of the processes that the address names has that memory open. */
export function isHeld({ name, holders }: MemoryAddress): boolean {
  const { native } = requirePort();
  return holders.some(([pid, file]) => nameOf(native, `/proc/${pid}/fd/${file}`) === name);
}

/** Why there is no memory in common here; undefined if there is. */
export function missingMemory(): string | undefined {
  const found = port();
  return typeof found === "string" ? found : undefined;
}

let found: Port | string | undefined;

function port(): Port | string {
  found ??= openPort();
  return found;
}

function requirePort(): Port {
  const found = port();
  if (typeof found !== "string") return found;
  throw new CapabilityError(`Memory cannot be shared between processes here: ${found}`);
}

function openPort(): Port | string {
  if (host.env(SWITCH) === "off") return `it is turned off by ${SWITCH}=off`;
  const api = native();
  if (api === undefined) return missingNative()?.message as string;
  const futex = Futex.open(api);
  if (futex === undefined) return `it is made for Linux on x64 and arm64, and this is ${api.platform} on ${api.arch}`;
  const probe = { native: api, futex };
  try {
    const file = open(api, 4096);
    try {
      if (nameOf(api, `/proc/self/fd/${file}`) === undefined) return "/proc/self/fd cannot be read";
      unmap(map(probe, file, 4096), false);
    } finally {
      api.libc.close(file);
    }
  } catch (error) {
    return (error as Error).message;
  }
  return probe;
}

/** An open file of that size, with its space reserved. */
function open(native: Native, size: number): number {
  const { libc } = native;
  if (size > LITTLE && size > freeMemory(native))
    throw failure(`reserved: the system has not ${size} bytes of memory left`);
  let file = libc.memfd_create(`multiproc-${randomToken(12)}`, MFD_CLOEXEC);
  if (file < 0) file = openUnlinked(native);
  let error: number;
  do error = libc.posix_fallocate(file, 0, size);
  while (error === EINTR);
  if (error === 0) return file;
  libc.close(file);
  throw failure(`reserved: the system has not ${size} bytes of memory left (error ${error})`);
}

/** Where there is no memfd: a file that has a name only for a moment. */
function openUnlinked({ libc, errno }: Native): number {
  const refusals: string[] = [];
  for (const folder of new Set([host.tempDir(), "/tmp", "/var/tmp", "/dev/shm"])) {
    const path = new TextEncoder().encode(`${folder}/multiproc-${randomToken(12)}-XXXXXX\0`);
    const file = libc.mkostemp(path, O_CLOEXEC);
    if (file >= 0) {
      libc.unlink(path);
      return file;
    }
    refusals.push(`${folder}: error ${errno()}`);
  }
  throw failure(`made: the system has no memfd, and no folder takes a file (${refusals.join("; ")})`);
}

function map(port: Port, file: number, size: number): Mapping {
  const { libc, errno } = port.native;
  const start = libc.mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (start === -1) throw failure(`mapped: ${size} bytes (error ${errno()})`);
  return { ...port, file, start, size };
}

function unmap({ native: { libc }, file, start, size }: Mapping, closes = true): void {
  libc.munmap(start, size);
  if (closes) libc.close(file);
}

/** What the system calls an open file; undefined if there is none, or it is another user's. */
function nameOf({ libc }: Native, path: string): string | undefined {
  const length = libc.readlink(path, link, link.length);
  return length < 0 ? undefined : host.utf8Read(link, 0, length);
}

function checkSize(size: number): void {
  if (!Number.isInteger(size) || size <= 0 || size > LARGEST)
    throw new RangeError(`Shared memory takes a size of 1 or more bytes, not ${String(size)}`);
}

function failure(what: string): ProcessError {
  return new ProcessError(`Shared memory could not be ${what}`, { code: "ERR_MEMORY" });
}
