/**
 * The port to libc: the system calls that the host does not offer, through a foreign function
 * interface (FFI).
 *
 * Calls are synchronous and never run in the thread pool of the host. Four waiting calls in that
 * pool would freeze Node's `fs`, and a single one would keep `process.exit()` from ending. Code
 * that must not block the thread waits for a pipe or a socket in the event loop.
 */
import { CapabilityError } from "../errors.ts";

/**
 * The type of a C parameter or result, and the JavaScript value for it.
 *
 * - `i32`, `u32`: an int
 * - `size`: a 64-bit size or offset; a result is signed
 * - `address`: a pointer as a number. User addresses are below 2^48 on x64 and, by default, on
 *   arm64
 * - `bytes`: a view or null. C reads or writes its memory during the call
 * - `text`: a string, passed as UTF-8 with a final zero; for parameters only
 */
export type Kind = "void" | "i32" | "u32" | "size" | "address" | "bytes" | "text";

/** The kind of the result, then the kinds of the parameters. */
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

/** The JavaScript type of a C function. */
export type Call<S extends Signature> = S extends readonly [infer R extends Kind, ...infer P extends readonly Kind[]]
  ? (...args: { -readonly [I in keyof P]: Kinds[P[I]] }) => Kinds[R]
  : never;

/**
 * The functions of libc that this library uses. A variadic function is listed with the arguments
 * that this library passes. Linux passes them as it does for other functions.
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
  // The result is -1 after a failure, which an `address` cannot be.
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

/**
 * The functions of libc. Access to a function that this system lacks throws a `CapabilityError`.
 */
export type Libc = { readonly [Name in keyof typeof LIBC]: Call<(typeof LIBC)[Name]> };

/** The port to libc. */
export interface Native {
  readonly libc: Libc;
  /** The operating system and the CPU, by the names of Node: `linux`, `x64`. */
  readonly platform: string;
  readonly arch: string;
  /** The errno of the last call; must be read right after it. */
  errno(): number;
  /**
   * The address of a symbol of the running program; undefined if there is none, or the host cannot
   * look it up.
   */
  symbol(name: string): number | undefined;
  /** Binds a function of the running program; undefined if there is none. */
  declare<const S extends Signature>(name: string, signature: S): Call<S> | undefined;
  /**
   * Returns the memory at an address as a buffer. Use {@link detach} before the memory is freed.
   */
  view(address: number, size: number): ArrayBuffer;
}

/**
 * Detaches a buffer from its memory: the buffer and all its views then have length 0. Node 20 has
 * no `transfer()`, but a byte stream detaches each buffer that is enqueued.
 */
export function detach(buffer: ArrayBuffer): void {
  const { transfer } = buffer as { transfer?: () => void };
  if (transfer !== undefined) transfer.call(buffer);
  else new ReadableStream({ type: "bytes", start: (controller) => controller.enqueue(new Uint8Array(buffer)) });
}

/** The reason why a process cannot call libc. */
export interface NativeUnavailable {
  readonly reason: "not-installed" | "not-permitted" | "not-supported";
  /** States what is missing, and what to do. */
  readonly message: string;
  readonly cause?: unknown;
}

/** Whether a value of this kind has 64 bits, for which some interfaces use bigints. */
export function is64Bit(kind: Kind): boolean {
  return kind === "size" || kind === "address";
}

/**
 * Builds a {@link Libc} that binds each function at the first access. After that, the function is a
 * plain property.
 *
 * @param bind binds a function; returns undefined or null if this system lacks it
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
