/**
 * The adapter for Node. It loads each module of Node at its first use. So every host can load this
 * file, and a child loads only the modules that it uses.
 */
import type * as AsyncHooks from "node:async_hooks";
import type * as ChildProcess from "node:child_process";
import type * as Crypto from "node:crypto";
import type * as Diagnostics from "node:diagnostics_channel";
import type * as Fs from "node:fs";
import type * as Inspector from "node:inspector";
import type * as Module from "node:module";
import type * as Net from "node:net";
import type * as Os from "node:os";
import type * as Path from "node:path";
import type * as Url from "node:url";
import { builtin } from "./builtin-module.ts";
import { type ForkRefusal, whyNoForkOn } from "./fork-refusal.ts";
import type {
  AsyncStorage,
  ByteStream,
  Capabilities,
  DiagnosticsChannel,
  Digest,
  Host,
  InterpreterCommand,
  InterpreterOptions,
  ServerHandlers,
  SpawnOptions,
  StreamAddress,
  StreamServer,
  Subprocess,
  Thread,
} from "./host.ts";
import { inheritedFlags } from "./node-flags.ts";
import { connect, FD_SOCKET_OPTIONS, NodeStream, openHandles, serve, trackHandle } from "./node-stream.ts";
import { NodeSubprocess } from "./node-subprocess.ts";
import { startThread, threadDepth, threadStream } from "./worker-threads.ts";

/**
 * Methods of Node's `Buffer` that work on any `Uint8Array`, several times faster than TextEncoder
 * and TextDecoder.
 */
interface RawText {
  utf8Write(this: Uint8Array, text: string, position: number): number;
  utf8Slice(this: Uint8Array, start: number, end: number): string;
  latin1Write(this: Uint8Array, text: string, position: number): number;
  latin1Slice(this: Uint8Array, start: number, end: number): string;
  ucs2Write(this: Uint8Array, text: string, position: number): number;
  ucs2Slice(this: Uint8Array, start: number, end: number): string;
}

const forkRefusal = whyNoForkOn({ host: "node", platform: process.platform, arch: process.arch });

/** The adapter for Node. */
export class NodeHost implements Host {
  readonly name = "node";
  readonly isAsyncStorageFree: boolean = Number.parseInt(process.versions.node, 10) >= 24;
  readonly capabilities: Capabilities = {
    signals: true,
    permissions: false,
    fork: forkRefusal === undefined,
    inspector: true,
    threadKill: true,
  };
  readonly #text = (globalThis as unknown as { Buffer?: { prototype: RawText } }).Buffer?.prototype as RawText;

  get pid(): number {
    return process.pid;
  }

  takeArgs(): readonly string[] {
    return process.argv.splice(2);
  }

  evalCommand(source: string, args: readonly string[]): { file: string; args: string[] } {
    return { file: process.execPath, args: ["-e", source, "--", ...args] };
  }

  spawn(file: string, options: SpawnOptions): Promise<Subprocess> {
    return new Promise((resolve, reject) => {
      const child = builtin<typeof ChildProcess>("child_process").spawn(file, [...options.args], {
        ...(options.env === undefined ? {} : { env: { ...process.env, ...options.env } }),
        cwd: options.cwd,
        detached: options.detached ?? false,
        stdio: [
          options.stdin === "write" ? "pipe" : "ignore",
          options.stdout ?? "inherit",
          options.stderr ?? "inherit",
        ],
      });
      child.once("error", reject);
      child.once("spawn", () => resolve(new NodeSubprocess(child)));
    });
  }

  interpreter(options: InterpreterOptions): InterpreterCommand {
    const entry = builtin<typeof Url>("url").fileURLToPath(options.entry);
    const flags = options.execArgv ?? inheritedFlags(process.execArgv);
    return {
      file: options.executable ?? process.execPath,
      args: [...flags, entry, ...options.args],
      env: compileCacheEnv(),
    };
  }

  listen(path: string, accept: (stream: ByteStream) => void, failed: (error: Error) => void): StreamServer {
    const server = serve(path, { accept, failed, listening() {} });
    if (!server.isListening) throw new Error(`Cannot listen on ${path}: the system did not open the socket`);
    return server;
  }

  serve(address: StreamAddress, handlers: ServerHandlers): StreamServer {
    return serve(address, handlers);
  }

  connect(address: StreamAddress, signal?: AbortSignal): Promise<ByteStream> {
    return connect(address, signal);
  }

  adoptFd(fd: number): ByteStream {
    return new NodeStream(new (builtin<typeof Net>("net").Socket)({ ...FD_SOCKET_OPTIONS, fd }), fd);
  }

  whyNoAdoptFd(): undefined {
    return undefined;
  }

  whyNoFork(): ForkRefusal | undefined {
    return forkRefusal;
  }

  async hmac(digest: Digest, key: Uint8Array, message: Uint8Array): Promise<Uint8Array> {
    return builtin<typeof Crypto>("crypto").createHmac(digest, key).update(message).digest();
  }

  watchReadable(fd: number, onReadable: () => void): true {
    const socket = new (builtin<typeof Net>("net").Socket)({ fd, readable: true, writable: false });
    trackHandle(socket);
    socket.on("error", () => {});
    socket.on("data", onReadable);
    socket.unref();
    return true;
  }

  openFds(): number[] {
    return [...openHandles].map(({ _handle }) => _handle?.fd ?? -1).filter((fd) => fd >= 0);
  }

  utf8Write(text: string, bytes: Uint8Array, position: number): number {
    return this.#text.utf8Write.call(bytes, text, position);
  }

  allocUnsafe(size: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(Buffer.allocUnsafeSlow(size).buffer as ArrayBuffer);
  }

  utf8Read(bytes: Uint8Array, start: number, end: number): string {
    return this.#text.utf8Slice.call(bytes, start, end);
  }

  asciiRead(bytes: Uint8Array, start: number, end: number): string {
    return this.#text.latin1Slice.call(bytes, start, end);
  }

  latin1Write(text: string, bytes: Uint8Array): void {
    this.#text.latin1Write.call(bytes, text, 0);
  }

  utf16Write(text: string, bytes: Uint8Array, position: number): void {
    this.#text.ucs2Write.call(bytes, text, position);
  }

  utf16Read(bytes: Uint8Array, start: number, end: number): string {
    return this.#text.ucs2Slice.call(bytes, start, end);
  }

  env(name: string): string | undefined {
    return process.env[name];
  }

  environment(): Record<string, string> {
    return { ...process.env } as Record<string, string>;
  }

  cwd(): string | undefined {
    try {
      return process.cwd();
    } catch {
      return undefined;
    }
  }

  canRead(): boolean {
    return true;
  }

  readTextFile(path: string): string {
    return builtin<typeof Fs>("fs").readFileSync(path, "utf8");
  }

  tempDir(): string {
    return builtin<typeof Os>("os").tmpdir();
  }

  makePrivateDir(parent: string, prefix: string): string {
    return builtin<typeof Fs>("fs").mkdtempSync(builtin<typeof Path>("path").join(parent, prefix));
  }

  remove(path: string): void {
    builtin<typeof Fs>("fs").rmSync(path, { recursive: true, force: true });
  }

  availableParallelism(): number {
    return builtin<typeof Os>("os").availableParallelism();
  }

  signalNumber(signal: string): number {
    return builtin<typeof Os>("os").constants.signals[signal as NodeJS.Signals] ?? 0;
  }

  onExit(run: () => void): void {
    process.once("exit", run);
  }

  onIdle(run: () => boolean): void {
    process.on("beforeExit", run);
  }

  onUncaughtError(run: (error: unknown) => void): void {
    for (const event of ["uncaughtException", "unhandledRejection"] as const) {
      // If the program has a handler of its own, that handler decides.
      process.on(event, (error: unknown) => {
        if (process.listenerCount(event) === 1) run(error);
      });
    }
  }

  onUnhandledRejection(claim: (reason: unknown) => boolean): void {
    process.on("unhandledRejection", (reason: unknown) => {
      // If the program has a handler of its own, that handler decides.
      if (!claim(reason) && process.listenerCount("unhandledRejection") === 1) throw reason;
    });
  }

  onSignal(signal: string, run: () => void): () => void {
    process.on(signal, run);
    return () => process.off(signal, run);
  }

  exit(code: number): never {
    process.exit(code);
  }

  /**
   * Node writes to pipes and sockets asynchronously, and drops the rest at `process.exit()`. So
   * this makes them blocking.
   */
  flushOutputOnExit(): void {
    for (const name of ["stdout", "stderr"] as const) {
      const get = Object.getOwnPropertyDescriptor(process, name)?.get;
      if (get === undefined || blockingGetters.has(get)) continue;
      let isBlocking = false;
      const getBlockingStream = (): unknown => {
        const stream = get.call(process);
        if (!isBlocking) {
          isBlocking = true;
          stream._handle?.setBlocking?.(true);
        }
        return stream;
      };
      blockingGetters.add(getBlockingStream);
      Object.defineProperty(process, name, { configurable: true, enumerable: true, get: getBlockingStream });
    }
  }

  pendingOutput(): number {
    let bytes = 0;
    for (const stream of [process.stdout, process.stderr] as HandleHolder[])
      bytes += Math.max(stream.writableLength ?? 0, stream._handle?.writeQueueSize ?? 0);
    return bytes;
  }

  /**
   * Node makes its standard streams non-blocking, which affects all processes that share the pipe
   * or terminal.
   */
  restoreStandardStreams(): void {
    const { stdin, stdout, stderr } = process;
    if (stdin.isRaw) stdin.setRawMode(false);
    for (const stream of [stdin, stdout, stderr] as HandleHolder[]) stream._handle?.setBlocking?.(true);
  }

  writeError(text: string): void {
    process.stderr.write(text);
  }

  writeOutput(name: "stdout" | "stderr", bytes: Uint8Array): Promise<void> | undefined {
    const stream = process[name];
    let onWritten = (): void => {};
    const hasRoom = stream.write(bytes, (error) => {
      // The "error" event follows, and would end the program if there were no listener.
      if (error != null && !stream.listeners("error").includes(ignore)) stream.once("error", ignore);
      onWritten();
    });
    // The "drain" event does not come if nothing reads the stream.
    return hasRoom ? undefined : new Promise((resolve) => (onWritten = resolve));
  }

  activeResources(): readonly string[] {
    return this.isAsyncStorageFree ? [] : process.getActiveResourcesInfo();
  }

  asyncLocalStorage(): AsyncStorage {
    return new (builtin<typeof AsyncHooks>("async_hooks").AsyncLocalStorage)();
  }

  startThread(module: URL, name: string, depth: number): Thread {
    return startThread(module, name, depth, true);
  }

  threadDepth(): number {
    return threadDepth();
  }

  threadStream(): ByteStream | undefined {
    return threadStream();
  }

  memoryUsed(): number {
    return process.memoryUsage.rss();
  }

  debugFlags(): string[] | undefined {
    const inspector = builtin<typeof Inspector | undefined>("inspector");
    return inspector?.url() === undefined ? undefined : [...inheritedFlags(process.execArgv), "--inspect=127.0.0.1:0"];
  }

  diagnosticsChannel(name: string): DiagnosticsChannel {
    return builtin<typeof Diagnostics>("diagnostics_channel").channel(name);
  }

  bindAsyncContext<A extends unknown[], R>(run: (...args: A) => R): (...args: A) => R {
    return builtin<typeof AsyncHooks>("async_hooks").AsyncLocalStorage.bind(run);
  }

  afterIo(run: () => void): void {
    setImmediate(run);
  }

  setImmediate(run: () => void): void {
    setImmediate(run);
  }

  timer(run: () => void, delayMs: number, keepAlive: boolean): () => void {
    const timer = setTimeout(run, delayMs);
    if (!keepAlive) timer.unref();
    return () => clearTimeout(timer);
  }
}

/**
 * Returns the variable that passes the compile cache on to children, if this program has enabled
 * the cache. Only the program knows a folder that no other user can write to.
 */
function compileCacheEnv(): Record<string, string> | undefined {
  const folder = (
    builtin<typeof Module>("module") as { getCompileCacheDir?(): string | undefined }
  ).getCompileCacheDir?.();
  // Node appends the last part of the path, by version and user.
  return folder === undefined ? undefined : { NODE_COMPILE_CACHE: builtin<typeof Path>("path").dirname(folder) };
}

/** A standard stream with the handle that Node keeps in it, unless it is a file. */
interface HandleHolder {
  readonly writableLength?: number;
  readonly _handle?: { readonly writeQueueSize?: number; setBlocking?(isBlocking: boolean): void } | null;
}

/** The getters that `flushOutputOnExit()` has installed. */
const blockingGetters = new WeakSet<() => unknown>();

function ignore(): void {}
