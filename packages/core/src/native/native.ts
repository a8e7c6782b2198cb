/**
 * The port to libc: all that this library asks of the system below its host, through a foreign function interface.
 *
 * Calls are synchronous and never parked in a host's thread pool: four waiting calls there freeze Node's `fs`, and one keeps
 * `process.exit()` from ending. What has to wait without blocking waits on the event loop, for a pipe or a socket.
 */
import { CapabilityError } from "../errors.ts";

/**
 * How a value crosses into C and back.
 *
 * - `i32`, `u32`: an int
 * - `size`: a 64-bit size or offset; signed as a result
 * - `address`: a pointer as a number. User addresses end below 2^48 on x64 and, unless asked otherwise, on arm64
 * - `bytes`: a view whose memory C reads or writes during the call, or null
 * - `text`: a string, as UTF-8 that ends with a zero; a parameter only
 */
export type Kind = "void" | "i32" | "u32" | "size" | "address" | "bytes" | "text";

/** The kind of the result, then those of the parameters. */
export type Signature = readonly [result: Kind, ...parameters: Kind[]];

interface Kinds {
  void: undefined;
  i32: number;
  u32: number;
  size: number;
  address: number;
  bytes: ArrayBufferView | null;
  text: string;
}

/** A C function as JavaScript sees it. */
export type Call<S extends Signature> = S extends readonly [infer R extends Kind, ...infer P extends readonly Kind[]]
  ? (...args: { -readonly [I in keyof P]: Kinds[P[I]] }) => Kinds[R]
  : never;

/**
 * The functions of libc that are in use. One that takes a variable number of arguments stands here with those that its only
 * use needs: on Linux these are passed alike.
 */
export const LIBC = {
  _exit: ["void", "i32"],
  accept4: ["i32", "i32", "bytes", "bytes", "i32"],
  bind: ["i32", "i32", "bytes", "u32"],
  close: ["i32", "i32"],
  connect: ["i32", "i32", "bytes", "u32"],
  dup: ["i32", "i32"],
  dup2: ["i32", "i32", "i32"],
  dup3: ["i32", "i32", "i32", "i32"],
  execv: ["i32", "text", "bytes"],
  execve: ["i32", "text", "bytes", "bytes"],
  fork: ["i32"],
  free: ["void", "address"],
  ftruncate: ["i32", "i32", "size"],
  getpgrp: ["i32"],
  getpid: ["i32"],
  getuid: ["u32"],
  kill: ["i32", "i32", "i32"],
  listen: ["i32", "i32", "i32"],
  lseek: ["size", "i32", "size", "i32"],
  madvise: ["i32", "address", "size", "i32"],
  malloc: ["address", "size"],
  memcpy: ["address", "address", "address", "size"],
  memfd_create: ["i32", "text", "u32"],
  mkdir: ["i32", "text", "u32"],
  mkostemp: ["i32", "bytes", "i32"],
  // -1 when it fails, which an address could not be
  mmap: ["size", "address", "size", "i32", "i32", "i32", "size"],
  munmap: ["i32", "address", "size"],
  open: ["i32", "text", "i32"],
  pipe2: ["i32", "bytes", "i32"],
  poll: ["i32", "bytes", "size", "i32"],
  posix_fallocate: ["i32", "i32", "size", "size"],
  prctl: ["i32", "i32", "size"],
  read: ["size", "i32", "bytes", "size"],
  readlink: ["size", "text", "bytes", "size"],
  rmdir: ["i32", "text"],
  send: ["size", "i32", "bytes", "size", "i32"],
  setpgid: ["i32", "i32", "i32"],
  sigaction: ["i32", "i32", "bytes", "bytes"],
  signal: ["address", "i32", "address"],
  sigprocmask: ["i32", "i32", "bytes", "bytes"],
  socket: ["i32", "i32", "i32", "i32"],
  strdup: ["address", "text"],
  syscall: ["size", "size", "size", "size"],
  unlink: ["i32", "bytes"],
  waitpid: ["i32", "i32", "bytes", "i32"],
  write: ["size", "i32", "bytes", "size"],
} as const;

/** The functions of libc; one that this system lacks throws a `CapabilityError` when it is first asked for. */
export type Libc = { readonly [Name in keyof typeof LIBC]: Call<(typeof LIBC)[Name]> };

/** The port itself. */
export interface Native {
  readonly libc: Libc;
  /** The system and the processor, as Node calls them: `linux`, `x64`. */
  readonly platform: string;
  readonly arch: string;
  /** What went wrong in the last call; to be asked right after it. */
  errno(): number;
  /** Where the running program has a symbol; undefined if it has not, or if the host cannot tell. */
  symbol(name: string): number | undefined;
  /** A function of the running program by its symbol; undefined as with {@link Native.symbol}. */
  declare<const S extends Signature>(name: string, signature: S): Call<S> | undefined;
  /** The memory at an address as a buffer, which must not outlive it: see {@link detach}. */
  view(address: number, size: number): ArrayBuffer;
}

/**
 * Takes its memory from a buffer, so that it and all its views have length 0, also in the hands of others. On Node 20 a stream
 * has to do it: whatever is put into a stream of bytes is detached.
 */
export function detach(buffer: ArrayBuffer): void {
  const { transfer } = buffer as { transfer?: () => void };
  if (transfer !== undefined) transfer.call(buffer);
  else new ReadableStream({ type: "bytes", start: (controller) => controller.enqueue(new Uint8Array(buffer)) });
}

/** Why a process has no way to libc. */
export interface NativeUnavailable {
  readonly reason: "not-installed" | "not-permitted" | "not-supported";
  /** What is missing, and what would make it. */
  readonly message: string;
  readonly cause?: unknown;
}

/** Whether values of this kind take 64 bits, which some interfaces have as bigints. */
export function is64Bit(kind: Kind): boolean {
  return kind === "size" || kind === "address";
}

/**
 * Makes each function of the table when it is first asked for; after that it is a plain property.
 *
 * @param bind gives a function; nothing if this system lacks it
 */
export function bindLibc(bind: (name: string, signature: Signature) => unknown): Libc {
  const libc = {};
  for (const [name, signature] of Object.entries(LIBC)) {
    Object.defineProperty(libc, name, {
      configurable: true,
      enumerable: true,
      get() {
        const value = bind(name, signature);
        if (value == null) throw new CapabilityError(`The C library of this system has no function "${name}"`);
        Object.defineProperty(libc, name, { value, enumerable: true });
        return value;
      },
    });
  }
  return libc as Libc;
}
