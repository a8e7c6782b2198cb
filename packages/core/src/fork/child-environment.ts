/** What a forked child has of its own: environment, folder, arguments, standard streams. */
import type { Native } from "../native/native.ts";

/** What is changed from what the parent has. */
export interface ChildEnvironment {
  /** Variables to set; null takes one away. */
  readonly env?: Readonly<Record<string, string | null>> | undefined;
  readonly cwd?: string | undefined;
  /** What stands in `process.argv` behind the interpreter. */
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

/** In a child, before its program runs. */
export function applyEnvironment({ env = {}, cwd, argv }: ChildEnvironment): void {
  for (const [name, value] of Object.entries(env)) {
    if (value === null) delete process.env[name];
    else process.env[name] = value;
  }
  if (cwd !== undefined) process.chdir(cwd);
  if (argv !== undefined) process.argv.splice(1, Number.POSITIVE_INFINITY, ...argv);
}

/** Whether a folder is there for a child to start in. */
export function isDirectory(path: string): boolean {
  return process.getBuiltinModule("node:fs").statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** In a parent that will fork, before it loads anything: notes whether its streams are opened, see {@link redirectOutput}. */
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

/** The same in a child of a process that did not watch: there they may have been opened, and are now. */
export function recordOutput(): void {
  for (const name of ["stdout", "stderr"] as const) openedStreams[name] = process[name] as unknown as StdStream;
}

/** In a child: has `process.stdout` or `process.stderr` lead to another file, which is closed here then. */
export function redirectOutput(native: Native, name: StreamName, fd: number): void {
  native.libc.dup2(fd, STREAM_FDS[name]);
  native.libc.close(fd);
  const oldStream = openedStreams[name];
  if (oldStream === undefined) return;
  // A module has written before the fork. Its stream was made for another kind of file, and the console keeps it: what is
  // written to it goes on to a new one.
  const newStream = openOutput(STREAM_FDS[name]);
  oldStream._write = (chunk, encoding, done) => void newStream.write(chunk, encoding, done);
  oldStream._writev = null;
  if (oldStream.isTTY === true) oldStream.isTTY = false;
  Object.defineProperty(process, name, { configurable: true, enumerable: true, get: () => newStream });
}

/** What `process.stdout` would be if it had not been opened yet. */
function openOutput(fd: number): StdStream {
  const fs = process.getBuiltinModule("node:fs");
  // As big integers, which Node notes in a place of their own: it takes what it noted last as numbers for that of a folder in
  // a path, and while that is a socket, modules are found by symbolic links and loaded twice.
  const stats = fs.fstatSync(fd, { bigint: true });
  if (!stats.isSocket() && !stats.isFIFO()) return fs.createWriteStream("", { fd, autoClose: false });
  const { Socket } = process.getBuiltinModule("node:net");
  const socket = new Socket({ fd, readable: false, writable: true });
  (socket as unknown as { _handle?: { unref(): void } })._handle?.unref();
  return socket as unknown as StdStream;
}
