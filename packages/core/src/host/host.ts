/**
 * The port to the host, the runtime that a process runs on: Node or Deno. The adapters translate
 * and have no policy.
 *
 * The port is synchronous and based on callbacks wherever the host is, so that the layers above
 * decide about order and waiting. A method that returns a promise rejects for every error; it never
 * throws.
 */
import type { ForkRefusal } from "./fork-refusal.ts";

/** The end of a process: an exit code or a signal. */
export interface ExitStatus {
  readonly code: number | null;
  readonly signal: string | null;
}

/** The connection of a child's standard stream. */
export type Stdio = "inherit" | "pipe" | "ignore";

/** Options of a new subprocess. */
export interface SpawnOptions {
  readonly args: readonly string[];
  /** Variables that are added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly cwd?: string | undefined;
  /**
   * With `"write"` the parent gets a pipe to the child's standard input. Otherwise the input is
   * empty.
   */
  readonly stdin?: "ignore" | "write";
  readonly stdout?: Stdio;
  readonly stderr?: Stdio;
  /** Starts the child in a new session, so that the signals of the terminal do not reach it. */
  readonly detached?: boolean;
}

/** A started subprocess. */
export interface Subprocess {
  readonly pid: number;
  /** Settles when the process has ended; never rejects. */
  readonly exited: Promise<ExitStatus>;
  /** The output of the child with `"pipe"`, otherwise null. */
  readonly stdout: ByteSource | null;
  readonly stderr: ByteSource | null;
  /**
   * Writes to a standard input that was opened with `"write"`; settles when the system has the
   * text, even without a reader.
   */
  write(text: string): Promise<void>;
  /** Sends a signal; does nothing if the process has ended. */
  kill(signal: string): void;
  /** Keeps the program alive until this child and its output have ended. */
  ref(): void;
  unref(): void;
}

/** Callbacks of a stream. */
export interface StreamHandlers {
  /** Receives bytes. The handler may keep them: the stream does not write to them again. */
  data(chunk: Uint8Array): void;
  /**
   * Returns the buffer for the next bytes while a large part is filled. The stream reads into it
   * and calls `filled`.
   */
  directBuffer?(): Uint8Array | undefined;
  /** Reports that `count` bytes were read into the last `directBuffer`. */
  filled?(count: number): void;
  /** Reports that the peer sends nothing more, or that the stream broke. Called once, and last. */
  end(error?: Error): void;
  /** Reports that the operating system has everything that was written. */
  drain(): void;
}

/** The address of a server: the path of a Unix socket, or a host and a port. */
export type StreamAddress = string | { readonly host: string; readonly port: number };

/** A stream of bytes to another process or thread. It reads after {@link ByteStream.start}. */
export interface ByteStream {
  /** The address of the peer; an empty path if it has none, like a client of a Unix socket. */
  readonly remote: StreamAddress;
  start(handlers: StreamHandlers): void;
  /**
   * Queues `chunk`, which must not be modified until it is written. If the peer has closed, the
   * bytes are dropped; `end` is still called after everything received was delivered.
   *
   * @returns how many bytes wait in the queue of the host
   */
  write(chunk: Uint8Array): number;
  /** Bytes that wait in the queue of the host. */
  readonly pending: number;
  /** The descriptor, if the host reveals it. */
  readonly fd?: number | undefined;
  pause(): void;
  resume(): void;
  /** Sends what is queued, then closes the stream. */
  finish(): void;
  /** Closes the stream at once and drops what is queued. */
  destroy(): void;
  /** Keeps the program alive while the stream is open. */
  ref(): void;
  unref(): void;
  /**
   * Delivers what has arrived at this moment. Missing on a host that cannot read without waiting.
   */
  readNow?(): void;
}

/** A stream of bytes that is only read. */
export type ByteSource = Pick<ByteStream, "start" | "pause" | "resume" | "destroy" | "ref" | "unref" | "readNow">;

/** A server that accepts streams. It does not keep the program alive before `ref()`. */
export interface StreamServer {
  /** Stops listening, and removes the address. */
  close(): void;
  /** Keeps the program alive while the server listens. */
  ref(): void;
  unref(): void;
}

/** The end of a thread. */
export interface ThreadExit {
  readonly code: number;
  /** The error that the thread did not catch. */
  readonly error: unknown;
  /** Whether everything that the thread sent has certainly arrived. */
  readonly complete: boolean;
}

/** A thread of this process that runs a module. */
export interface Thread {
  readonly id: number;
  /** The stream to {@link Host.threadStream} in the thread. */
  readonly stream: ByteStream;
  /** Settles when the thread has ended; never rejects. */
  readonly exited: Promise<ThreadExit>;
  /** Ends the thread. This ends an endless loop only if {@link Capabilities.threadKill} is true. */
  terminate(): void;
}

/** A channel for monitoring tools, see `node:diagnostics_channel`. */
export interface DiagnosticsChannel {
  readonly hasSubscribers: boolean;
  publish(message: unknown): void;
}

/** Callbacks of a server. */
export interface ServerHandlers {
  /** Receives the stream of a new client. */
  accept(stream: ByteStream): void;
  /**
   * Reports that the server listens at `address`, which holds the port that the system has chosen.
   */
  listening(address: StreamAddress): void;
  /** Reports that the server cannot listen, or does not listen any more. */
  failed(error: Error): void;
}

/** The hash functions of {@link Host.hmac}. */
export type Digest = "md5" | "sha256" | "sha384" | "sha3-256" | "sha3-384";

/** Capabilities of a host. A call that needs a missing one fails with an error. */
export interface Capabilities {
  /** Whether children can be stopped by signals other than SIGKILL. */
  readonly signals: boolean;
  /** Whether children can be given fewer permissions than their parent has. */
  readonly permissions: boolean;
  /** Whether a process of this host can be forked. */
  readonly fork: boolean;
  /** Whether a thread in an endless loop can be ended. */
  readonly threadKill: boolean;
  /** Whether the host reports that the program is being debugged. */
  readonly inspector: boolean;
}

/** Permissions of a Deno child: everything that the parent can pass on, none, or the named ones. */
export type Permissions = "inherit" | "none" | Readonly<Record<string, boolean | readonly string[]>>;

/** Options of a child interpreter, which otherwise starts like its parent. */
export interface InterpreterOptions {
  /** The module that the child runs. */
  readonly entry: URL;
  readonly args: readonly string[];
  /** Flags for the interpreter instead of those of the parent. */
  readonly execArgv?: readonly string[] | undefined;
  /** The interpreter instead of that of the parent. */
  readonly executable?: string | undefined;
  readonly permissions?: Permissions | undefined;
  /** Paths and sockets that the child needs. It gets access as far as the parent has it. */
  readonly requiredAccess: {
    readonly read: readonly string[];
    readonly write: readonly string[];
    readonly sockets: readonly string[];
  };
}

/** The command line of a child interpreter. */
export interface InterpreterCommand {
  readonly file: string;
  readonly args: string[];
  /** Variables for settings that this process received in other ways. */
  readonly env?: Readonly<Record<string, string>> | undefined;
}

/** A variable with one value per async flow: it follows the calls and promises of one task. */
export interface AsyncStorage {
  getStore(): unknown;
  /** Sets the value for the rest of this turn, and for everything that it starts. */
  enterWith(value: unknown): void;
  /** Sets the value for the call of `run`, and for everything that it starts. */
  run<T>(value: unknown, run: () => T): T;
  /** Drops the values of all async flows, and stops tracking them until the next call. */
  disable(): void;
}

/** The port to the host. */
export interface Host {
  readonly name: "node" | "deno";
  readonly pid: number;
  readonly capabilities: Capabilities;

  /** Starts a program; rejects if it cannot be started. */
  spawn(file: string, options: SpawnOptions): Promise<Subprocess>;
  /** Returns the command line that starts a child of this host. */
  interpreter(options: InterpreterOptions): InterpreterCommand;
  /**
   * Returns a command line that runs `source` as JavaScript; undefined if the host has none. It
   * replaces a shell script on systems without a shell.
   */
  evalCommand(source: string, args: readonly string[]): { file: string; args: string[] } | undefined;
  /**
   * Takes the arguments of this child's entry. The program does not see them afterwards, if the
   * host can remove them.
   */
  takeArgs(): readonly string[];

  /**
   * Listens on a Unix socket that only the user can open. Throws if that is impossible, and calls
   * `failed` if the server stops listening later.
   */
  listen(path: string, accept: (stream: ByteStream) => void, failed: (error: Error) => void): StreamServer;
  /**
   * Listens on a Unix socket that only the user can open, or on a port. Calls `listening` or
   * `failed`. A Unix socket exists when the call returns.
   */
  serve(address: StreamAddress, handlers: ServerHandlers): StreamServer;
  /** Connects to a server. */
  connect(address: StreamAddress, signal?: AbortSignal): Promise<ByteStream>;
  /**
   * Makes a stream of a Unix socket that was connected by system calls. The host owns the
   * descriptor from now on.
   */
  adoptFd(fd: number): ByteStream;
  /** The reason why {@link adoptFd} does not work here; undefined if it does. */
  whyNoAdoptFd(): string | undefined;
  /**
   * Computes the keyed digest (HMAC) of a message; rejects if this system lacks the hash function.
   */
  hmac(digest: Digest, key: Uint8Array, message: Uint8Array): Promise<Uint8Array>;
  /**
   * Calls `onReadable` whenever bytes arrive in a pipe. The host owns the descriptor from now on.
   * It does not keep the program alive.
   *
   * @returns false if this host cannot watch a descriptor
   */
  watchReadable(fd: number, onReadable: () => void): boolean;
  /** Returns the reason why this host can never fork; undefined if it may be able to. */
  whyNoFork(): ForkRefusal | undefined;
  /**
   * The descriptors of all open streams and servers. A forked child must not use them: they are its
   * parent's.
   */
  openFds(): number[];

  /**
   * Writes text as UTF-8; returns the number of bytes. The caller provides room for three bytes per
   * letter.
   */
  utf8Write(text: string, bytes: Uint8Array, position: number): number;
  utf8Read(bytes: Uint8Array, start: number, end: number): string;
  /**
   * Allocates memory that the caller overwrites completely. It is not cleared, if the host can
   * avoid that.
   */
  allocUnsafe(size: number): Uint8Array<ArrayBuffer>;
  asciiRead(bytes: Uint8Array, start: number, end: number): string;
  /** Writes text as Latin-1, one byte per letter, up to the end of `bytes`. */
  latin1Write(text: string, bytes: Uint8Array): void;
  /**
   * Writes text as little-endian UTF-16. The caller provides the room. Lone surrogates are kept.
   */
  utf16Write(text: string, bytes: Uint8Array, position: number): void;
  utf16Read(bytes: Uint8Array, start: number, end: number): string;

  /** A variable of the environment; undefined also if reading it is not permitted. */
  env(name: string): string | undefined;
  /** All variables of the environment; undefined if reading them is not permitted. */
  environment(): Record<string, string> | undefined;
  /** The working directory; undefined if it was removed, or reading it is not permitted. */
  cwd(): string | undefined;
  readTextFile(path: string): string;
  /** Whether the permissions of the host let this process read a file or folder. */
  canRead(path: string): boolean;
  /** The folder for temporary files. */
  tempDir(): string;
  /** Creates a new folder that only the user can enter. */
  makePrivateDir(parent: string, prefix: string): string;
  remove(path: string): void;
  availableParallelism(): number;

  /** The number of a signal on this system. */
  signalNumber(signal: string): number;

  /** Calls `run` before the process exits. A crash or a signal skips it. */
  onExit(run: () => void): void;
  /**
   * Calls `run` when the program has nothing left to do. If `run` returns true, it has started
   * work, and is called again when that is done.
   */
  onIdle(run: () => boolean): void;
  /** Calls `run` for an uncaught error, unless the program has a handler of its own. */
  onUncaughtError(run: (error: unknown) => void): void;
  /**
   * Asks `claim` about each unhandled rejection. A rejection that it claims has no further effect.
   */
  onUnhandledRejection(claim: (reason: unknown) => boolean): void;
  /**
   * Calls `run` when the signal arrives, instead of the default action. The returned function ends
   * this.
   */
  onSignal(signal: string, run: () => void): () => void;
  /** Ends this process at once. */
  exit(code: number): never;
  /** Makes writes to the standard streams complete before the process exits, also by `exit()`. */
  flushOutputOnExit(): void;
  /** Bytes of the standard streams that the operating system does not have yet. */
  pendingOutput(): number;
  /** Restores the standard streams to the state that a new program expects. */
  restoreStandardStreams(): void;
  writeError(text: string): void;
  /**
   * Writes bytes to a standard stream of this process. Other writes do not come between them. If
   * nothing reads the stream, they are lost, as with `console.log()`.
   *
   * @returns a promise that settles when there is room for more; undefined if there is some now
   */
  writeOutput(stream: "stdout" | "stderr", bytes: Uint8Array): Promise<void> | undefined;
  /**
   * The kinds of operations, timers and handles that keep this program alive, one entry for each;
   * empty if {@link isAsyncStorageFree}.
   */
  activeResources(): readonly string[];
  /** Whether promises stay as fast while an {@link AsyncStorage} is in use. */
  readonly isAsyncStorageFree: boolean;
  /** Creates a variable that follows async flows. */
  asyncLocalStorage(): AsyncStorage;
  /**
   * Starts a thread that runs a module. It does not keep the program alive.
   *
   * @param depth the number of processes and threads between the main program and the new thread
   */
  startThread(module: URL, name: string, depth: number): Thread;
  /** The `depth` that this thread was started with. */
  threadDepth(): number;
  /** Returns the stream to the parent thread; undefined in the main thread. */
  threadStream(): ByteStream | undefined;
  /** The resident memory of this process in bytes, with pages that it shares with others. */
  memoryUsed(): number;
  /**
   * The flags of a child that listens for a debugger at a free port; undefined if this program is
   * not being debugged.
   */
  debugFlags(): string[] | undefined;
  /** Returns the diagnostics channel with this name. */
  diagnosticsChannel(name: string): DiagnosticsChannel;
  /**
   * Binds a function to the current async context. It runs in that context, wherever it is called.
   */
  bindAsyncContext<A extends unknown[], R>(run: (...args: A) => R): (...args: A) => R;
  /** Calls `run` after a turn of the event loop in which input and timers are served. */
  afterIo(run: () => void): void;
  /**
   * Calls `run` in the next turn of the event loop, as soon as possible. Input may not be served
   * before.
   */
  setImmediate(run: () => void): void;
  /** Calls `run` after `delayMs`; returns a function that cancels the timer. */
  timer(run: () => void, delayMs: number, keepAlive: boolean): () => void;
}
