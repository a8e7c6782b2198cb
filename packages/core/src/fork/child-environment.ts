/** Sets up the environment, working directory, arguments and standard streams of a forked child. */
import type { Native } from "../native/native.ts";

/** The differences from the parent's environment. */
export interface ChildEnvironment {
  /** Variables to set; null deletes a variable. */
  readonly env?: Readonly<Record<string, string | null>> | undefined;
  readonly cwd?: string | undefined;
  /** The part of `process.argv` after the interpreter. */
  readonly argv?: readonly string[] | undefined;
}

type StreamName = "stdout" | "stderr";
interface StdStream {
  _write(chunk: unknown, encoding: string, done: (error?: Error | null) => void): void;
  _writev?: unknown;
  isTTY?: boolean;
  write(chunk: unknown, encoding: string, done: (error?: Error | null) => void): boolean;
}

const STREAM_FDS = { stdout: 1, stderr: 2 } as const;
const openedStreams: Partial<Record<StreamName, StdStream>> = {};

/** In a child: applies the differences, before the program runs. */
export function applyEnvironment({ env = {}, cwd, argv }: ChildEnvironment): void {
  for (const [name, value] of Object.entries(env)) {
    if (value === null) delete process.env[name];
    else process.env[name] = value;
  }
  if (cwd !== undefined) process.chdir(cwd);
  if (argv !== undefined) process.argv.splice(1, Number.POSITIVE_INFINITY, ...argv);
}

/** Whether `path` is a directory, so that a child can start in it. */
export function isDirectory(path: string): boolean {
  return process.getBuiltinModule("node:fs").statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/**
 * In a parent, before it loads any module: records which standard streams are opened, for
 * {@link redirectOutput}.
 */
export function watchOutput(): void {
  for (const name of ["stdout", "stderr"] as const) {
    const { get } = Object.getOwnPropertyDescriptor(process, name) as { get: () => StdStream };
    Object.defineProperty(process, name, {
      configurable: true,
      enumerable: true,
      get: () => (openedStreams[name] = get.call(process)),
    });
  }
}

/** In a child whose parent has not called {@link watchOutput}: opens and records both streams. */
export function recordOutput(): void {
  for (const name of ["stdout", "stderr"] as const) openedStreams[name] = process[name] as unknown as StdStream;
}

/** In a child: redirects `process.stdout` or `process.stderr` to `fd`, which it closes. */
export function redirectOutput(native: Native, name: StreamName, fd: number): void {
  native.libc.dup2(fd, STREAM_FDS[name]);
  native.libc.close(fd);
  const oldStream = openedStreams[name];
  if (oldStream === undefined) return;
  // A module has used the stream before the fork. The stream was created for another kind of file,
  // and the console keeps it. The old stream therefore forwards to a new one.
  const newStream = openOutput(STREAM_FDS[name]);
  oldStream._write = (chunk, encoding, done) => void newStream.write(chunk, encoding, done);
  oldStream._writev = null;
  if (oldStream.isTTY === true) oldStream.isTTY = false;
  Object.defineProperty(process, name, { configurable: true, enumerable: true, get: () => newStream });
}

/** Opens a standard stream as Node does at the first access. */
function openOutput(fd: number): StdStream {
  const fs = process.getBuiltinModule("node:fs");
  // The option `bigint` avoids a bug of Node, whose module loader reads the last result that
  // fstat() stored as numbers. If that was a socket, the loader does not resolve symbolic links,
  // and loads modules twice.
  const stats = fs.fstatSync(fd, { bigint: true });
  if (!stats.isSocket() && !stats.isFIFO()) return fs.createWriteStream("", { fd, autoClose: false });
  const { Socket } = process.getBuiltinModule("node:net");
  const socket = new Socket({ fd, readable: false, writable: true });
  (socket as unknown as { _handle?: { unref(): void } })._handle?.unref();
  return socket as unknown as StdStream;
}
