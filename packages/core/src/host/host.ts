/**
 * The port to the host: all that this library asks of Node or Deno. Adapters translate and hold no policy.
 *
 * Everything is callback-based and synchronous where the host is, so that the layers above decide about order and waiting.
 */

/** How a process ended: by an exit code, or by a signal. */
export interface ExitStatus {
  readonly code: number | null;
  readonly signal: string | null;
}

/** What a child's standard streams are connected to. */
export type Stdio = "inherit" | "pipe" | "ignore";

/** How a subprocess is started. */
export interface SpawnOptions {
  readonly args: readonly string[];
  /** Variables added to this process's own. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly cwd?: string | undefined;
  /** `"write"` gives the parent a pipe to the child's standard input; otherwise it reads nothing. */
  readonly stdin?: "ignore" | "write";
  readonly stdout?: Stdio;
  readonly stderr?: Stdio;
  /** Starts the child in a session of its own, out of reach of the terminal's signals. */
  readonly detached?: boolean;
}

/** A started subprocess. */
export interface Subprocess {
  readonly pid: number;
  /** Settles when the process has ended; never rejects. */
  readonly exited: Promise<ExitStatus>;
  /** What it writes, with `"pipe"`; see `output.ts`. */
  readonly stdout: ByteSource | null;
  readonly stderr: ByteSource | null;
  /** Writes to a standard input that was opened with `"write"`; settles when the system has it, also when nobody reads. */
  write(text: string): Promise<void>;
  /** Sends a signal; does nothing once the process has ended. */
  kill(signal: string): void;
  /** Whether the program waits for this child, and for what it writes, before it ends. */
  ref(): void;
  unref(): void;
}

/** What a stream of bytes calls back. */
export interface StreamHandlers {
  /** Bytes that arrived; the receiver may keep them, the stream never writes to them again. */
  data(chunk: Uint8Array): void;
  /** Where the next bytes may be read to straight away, if a large piece is being filled; `filled` tells how many came. */
  directBuffer?(): Uint8Array | undefined;
  filled?(count: number): void;
  /** The other side will send no more, or the stream broke; called once, always, and last. */
  end(error?: Error): void;
  /** All that was written has been handed to the system. */
  drain(): void;
}

/** Where a stream leads: the path of a Unix socket, or a host and a port. */
export type StreamAddress = string | { readonly host: string; readonly port: number };

/** A stream of bytes to another process. Reading starts with {@link ByteStream.start}. */
export interface ByteStream {
  /** Where the other side is; an empty path if it has no address, as who dials a Unix socket. */
  readonly remote: StreamAddress;
  start(handlers: StreamHandlers): void;
  /**
   * Queues bytes, which must not change until they have left; returns how many wait in the host's queue. When the other side is
   * gone they go nowhere, and `end` is called once all that it had sent has been delivered.
   */
  write(chunk: Uint8Array): number;
  /** How many bytes wait in the host's queue. */
  readonly pending: number;
  /** The number of the system's file, where it can be told. */
  readonly fd?: number | undefined;
  pause(): void;
  resume(): void;
  /** Sends what is queued, then closes. */
  finish(): void;
  /** Closes at once and drops what is queued. */
  destroy(): void;
  /** Whether the program stays alive for this stream. */
  ref(): void;
  unref(): void;
  /** Calls `data` for what has arrived at this moment; missing where the host cannot read without waiting. */
  readNow?(): void;
}

/** A stream of bytes that is only read. */
export type ByteSource = Pick<ByteStream, "start" | "pause" | "resume" | "destroy" | "ref" | "unref" | "readNow">;

/** A server for streams; it does not keep the program alive, unless it is told to. */
export interface StreamServer {
  /** Stops listening, and removes the address. */
  close(): void;
  /** Whether the program stays alive for this server. */
  ref(): void;
  unref(): void;
}

/** How a thread ended. */
export interface ThreadExit {
  readonly code: number;
  /** What it did not catch. */
  readonly error: unknown;
  /** Whether all that it had sent has arrived for certain. */
  readonly complete: boolean;
}

/** A thread of this process that runs a module. */
export interface Thread {
  readonly id: number;
  /** The way to {@link Host.threadStream} in the thread. */
  readonly stream: ByteStream;
  /** Settles when the thread has ended; never rejects. */
  readonly exited: Promise<ThreadExit>;
  /** Ends it, where {@link Capabilities.threadKill} says so whatever it does. */
  terminate(): void;
}

/** A channel for those who watch the program, see `node:diagnostics_channel`. */
export interface DiagnosticsChannel {
  readonly hasSubscribers: boolean;
  publish(message: unknown): void;
}

/** What a server calls back. */
export interface ServerHandlers {
  accept(stream: ByteStream): void;
  /** It listens, at that address: the port is the one that was given. */
  listening(address: StreamAddress): void;
  /** It cannot listen, or does so no more. */
  failed(error: Error): void;
}

/** The ways in which {@link Host.hmac} can mix. */
export type Digest = "md5" | "sha256" | "sha384" | "sha3-256" | "sha3-384";

/** What a host can do; what it lacks has an error of its own, never a silent difference. */
export interface Capabilities {
  /** Children can be stopped by signals other than a hard kill. */
  readonly signals: boolean;
  /** Children can be given fewer permissions than their parent has. */
  readonly permissions: boolean;
  /** A process of this host may be copied by `fork()`. */
  readonly fork: boolean;
  /** A thread that does not come to rest can be ended. */
  readonly threadKill: boolean;
  /** This host tells whether the program is being debugged. */
  readonly inspector: boolean;
}

/** Permissions of a Deno child: all that the parent can pass on, none, or the named ones. */
export type Permissions = "inherit" | "none" | Readonly<Record<string, boolean | readonly string[]>>;

/** What a child interpreter needs to know to be started like its parent. */
export interface InterpreterOptions {
  /** The module that the child runs. */
  readonly entry: URL;
  readonly args: readonly string[];
  /** Flags for the interpreter, in place of the parent's own. */
  readonly execArgv?: readonly string[] | undefined;
  /** The interpreter, in place of the parent's own. */
  readonly executable?: string | undefined;
  readonly permissions?: Permissions | undefined;
  /** Paths and sockets that the child must reach to do its work; passed on as far as the parent may reach them itself. */
  readonly requiredAccess: {
    readonly read: readonly string[];
    readonly write: readonly string[];
    readonly sockets: readonly string[];
  };
}

/** What starts a child interpreter. */
export interface InterpreterCommand {
  readonly file: string;
  readonly args: string[];
  /** Variables by which this process passes on what it was told by other ways. */
  readonly env?: Readonly<Record<string, string>> | undefined;
}

/** A place whose value follows the calls and promises of one flow of work, and no other. */
export interface AsyncStorage {
  getStore(): unknown;
  /** Sets it for the rest of this turn, and for all that comes of it. */
  enterWith(value: unknown): void;
}

/** The port itself. */
export interface Host {
  readonly name: "node" | "deno";
  readonly pid: number;
  readonly capabilities: Capabilities;

  /** Starts a program; rejects if it cannot be started. */
  spawn(file: string, options: SpawnOptions): Promise<Subprocess>;
  /** The program and arguments by which a child of this host is started. */
  interpreter(options: InterpreterOptions): InterpreterCommand;
  /** The program and arguments that run a few lines of JavaScript, where a shell is missing; none where that is no way. */
  evalCommand(source: string, args: readonly string[]): { file: string; args: string[] } | undefined;
  /** The arguments that this child's entry was given; the program does not see them afterwards, where that can be done. */
  takeArgs(): readonly string[];

  /** Listens on a Unix socket whose file is its owner's alone; calls `failed` if the address cannot be had. */
  listen(path: string, accept: (stream: ByteStream) => void, failed: (error: Error) => void): StreamServer;
  /**
   * Listens on a Unix socket whose file is its owner's alone, or on a port; how that went is called back. A Unix socket is
   * there when the call returns.
   */
  serve(address: StreamAddress, handlers: ServerHandlers): StreamServer;
  connect(address: StreamAddress, signal?: AbortSignal): Promise<ByteStream>;
  /** The stream over a Unix socket that was connected without the host, and belongs to it from now on. */
  adoptFd(fd: number): ByteStream;
  /** Why {@link adoptFd} does not work here; undefined if it does. */
  whyNoAdoptFd(): string | undefined;
  /** The keyed digest of a message; rejects if this system does not have that digest. */
  hmac(digest: Digest, key: Uint8Array, message: Uint8Array): Promise<Uint8Array>;
  /**
   * Calls `ring` whenever bytes arrive in a pipe, which belongs to the host from now on; that keeps no program alive. Gives
   * false where this host cannot watch one.
   */
  watchReadable(fd: number, onReadable: () => void): boolean;
  /** The files behind the streams and servers that are open here, which a forked child must leave to its parent. */
  openFds(): number[];

  /** Writes text into bytes as UTF-8 and returns how many bytes that took; there is room for three times its length. */
  utf8Write(text: string, bytes: Uint8Array, position: number): number;
  utf8Read(bytes: Uint8Array, start: number, end: number): string;
  /** Memory of its own for so many bytes, which are all written before anybody sees them: where the host can, it is not cleared. */
  allocUnsafe(size: number): Uint8Array<ArrayBuffer>;
  asciiRead(bytes: Uint8Array, start: number, end: number): string;
  /** Writes text into bytes, one for each letter, as far as these go. */
  latin1Write(text: string, bytes: Uint8Array): void;
  /** Writes text into bytes as UTF-16, little endian, for which there is room; halves of pairs stay as they are. */
  utf16Write(text: string, bytes: Uint8Array, position: number): void;
  utf16Read(bytes: Uint8Array, start: number, end: number): string;

  /** A variable of the environment; missing also where reading it is not permitted. */
  env(name: string): string | undefined;
  /** All variables of the environment; undefined where reading them is not permitted. */
  environment(): Record<string, string> | undefined;
  /** The folder that this process is in; undefined where it is gone, or asking is not permitted. */
  cwd(): string | undefined;
  readTextFile(path: string): string;
  /** Whether this process is permitted to read a file or folder, as far as the host has a say in that. */
  canRead(path: string): boolean;
  /** The folder for temporary files. */
  tempDir(): string;
  /** Makes a new folder that only its owner can enter. */
  makePrivateDir(parent: string, prefix: string): string;
  remove(path: string): void;
  availableParallelism(): number;

  /** The number of a signal on this system. */
  signalNumber(signal: string): number;

  /** Runs before the process ends in an orderly way. */
  onExit(run: () => void): void;
  /** Runs when the program has nothing left to do, and again when it has done what was begun then; `run` tells whether anything was. */
  onIdle(run: () => boolean): void;
  /** Calls `run` for an error that nobody caught, unless the program has a handler of its own. */
  onUncaughtError(run: (error: unknown) => void): void;
  /** Calls `run` at that signal, in place of the default, until the returned function is called. */
  onSignal(signal: string, run: () => void): () => void;
  /** Ends this process at once. */
  exit(code: number): never;
  /** From now on, what was written to the standard streams has left when the process ends, however it is ended by itself. */
  flushOutputOnExit(): void;
  /** How many bytes of the standard streams have not been handed to the system. */
  pendingOutput(): number;
  /** Puts the standard streams into the state in which a program expects to find them. */
  restoreStandardStreams(): void;
  writeError(text: string): void;
  /**
   * Writes bytes to a standard stream of this process, of which they are not torn by others; a promise settles when there is
   * room for more. Where nobody reads they go nowhere, as those of `console.log()`.
   */
  writeOutput(stream: "stdout" | "stderr", bytes: Uint8Array): Promise<void> | undefined;
  /** A new place of that kind. */
  asyncLocalStorage(): AsyncStorage;
  /** Starts a thread that runs a module; it does not keep the program alive. */
  startThread(module: URL, name: string): Thread;
  /** The way to who started this thread; undefined in the main thread. */
  threadStream(): ByteStream | undefined;
  /** How much memory this process takes, in bytes; pages that it shares with others are counted in. */
  memoryUsed(): number;
  /** The flags of a child that can be debugged too, at a free port; undefined if this program is not, or that cannot be known. */
  debugFlags(): string[] | undefined;
  /** The channel of that name, for those who watch this program. */
  diagnosticsChannel(name: string): DiagnosticsChannel;
  /** Has a function run in the asynchronous context of this moment, whoever calls it. */
  bindAsyncContext<A extends unknown[], R>(run: (...args: A) => R): (...args: A) => R;
  /** Turns of the loop in which input and timers are served. */
  afterIo(run: () => void): void;
  /** The next turn of the loop, as soon as it can be; input need not be served before. */
  setImmediate(run: () => void): void;
  timer(run: () => void, delay: number, keepAlive: boolean): () => void;
}
