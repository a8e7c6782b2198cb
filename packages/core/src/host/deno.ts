/**
 * The adapter for Deno. Where it can, it uses only Deno's own API. A process that loads any `node:`
 * module takes twice as long to start.
 */
import type * as Crypto from "node:crypto";
import { CapabilityError } from "../errors.ts";
import { builtin } from "./builtin-module.ts";
import type { DenoApi } from "./deno-api.ts";
import { permissionFlags } from "./deno-permissions.ts";
import { denoSignalNumber } from "./deno-signals.ts";
import { DenoServer, DenoStream, denoAddress, unrefTimer } from "./deno-stream.ts";
import { startSubprocess } from "./deno-subprocess.ts";
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
import { FD_SOCKET_OPTIONS, NodeStream } from "./node-stream.ts";
import { startThread, threadDepth, threadStream } from "./worker-threads.ts";

/** The part of `node:net` that is used. */
interface NodeNet {
  readonly Socket: new (options: {
    fd: number;
    readable: boolean;
    writable: boolean;
    allowHalfOpen?: boolean;
  }) => { on(event: string, run: () => void): void; unref(): void };
}

/**
 * Whether this Deno can adopt a descriptor (2.7.12 and newer). The check passes an invalid
 * descriptor, for which only older versions fail with `ERR_NOT_IMPLEMENTED`.
 */
function canAdoptFd(): boolean {
  try {
    new (builtin<NodeNet>("net").Socket)({ ...FD_SOCKET_OPTIONS, fd: -1 });
    return true;
  } catch (error) {
    return (error as { code?: string }).code !== "ERR_NOT_IMPLEMENTED";
  }
}

/** The adapter for Deno. */
export class DenoHost implements Host {
  readonly name = "deno";
  readonly isAsyncStorageFree = true;
  readonly capabilities: Capabilities = {
    signals: true,
    permissions: true,
    fork: false,
    inspector: false,
    threadKill: false,
  };
  readonly #deno = (globalThis as unknown as { Deno: DenoApi }).Deno;
  #canAdoptFd: boolean | undefined;
  readonly #encoder = new TextEncoder();
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  readonly #utf16 = new TextDecoder("utf-16le", { ignoreBOM: true });

  get pid(): number {
    return this.#deno.pid;
  }

  takeArgs(): readonly string[] {
    return this.#deno.args;
  }

  evalCommand(): undefined {
    return undefined; // a child would need the whole run permission
  }

  async spawn(file: string, options: SpawnOptions): Promise<Subprocess> {
    return startSubprocess(this.#deno, file, options);
  }

  /**
   * The command line names the main module of the parent, so that Deno finds the same configuration
   * and import map. That module never runs: the preloaded entry ends the process itself.
   */
  interpreter(options: InterpreterOptions): InterpreterCommand {
    const deno = this.#deno;
    const flags = options.execArgv ?? permissionFlags(deno, options.permissions ?? "inherit", options.requiredAccess);
    return {
      file: options.executable ?? deno.execPath(),
      args: [
        "run",
        "--no-prompt",
        "--quiet",
        ...flags,
        "--preload",
        options.entry.href,
        deno.mainModule,
        ...options.args,
      ],
    };
  }

  listen(path: string, accept: (stream: ByteStream) => void, failed: (error: Error) => void): StreamServer {
    return new DenoServer(this.#deno, path, { accept, failed, listening() {} });
  }

  serve(address: StreamAddress, handlers: ServerHandlers): StreamServer {
    try {
      const server = new DenoServer(this.#deno, address, handlers);
      queueMicrotask(() => handlers.listening(server.address));
      return server;
    } catch (error) {
      queueMicrotask(() => handlers.failed(error as Error));
      return { close() {}, ref() {}, unref() {} };
    }
  }

  async connect(address: StreamAddress, signal?: AbortSignal): Promise<ByteStream> {
    return new DenoStream(await this.#deno.connect({ ...denoAddress(address), signal } as never));
  }

  adoptFd(fd: number): ByteStream {
    const socket = new (builtin<NodeNet>("net").Socket)({ ...FD_SOCKET_OPTIONS, fd });
    return new NodeStream(socket as never, fd);
  }

  whyNoAdoptFd(): string | undefined {
    this.#canAdoptFd ??= canAdoptFd();
    if (this.#canAdoptFd) return undefined;
    return "this version of Deno cannot adopt a socket that it did not open itself: 2.7.12 and newer can";
  }

  whyNoFork(): ForkRefusal | undefined {
    const { os, arch } = this.#deno.build;
    return whyNoForkOn({ host: "deno", platform: os, arch });
  }

  /**
   * The Web Crypto API lacks some of the hash functions. The name of the module is computed, so
   * that Deno does not load the module when the program starts.
   */
  async hmac(digest: Digest, key: Uint8Array, message: Uint8Array): Promise<Uint8Array> {
    const { createHmac } = (await import(`node:${"crypto"}`)) as typeof Crypto;
    return new Uint8Array(createHmac(digest, key).update(message).digest());
  }

  utf8Write(text: string, bytes: Uint8Array, position: number): number {
    return this.#encoder.encodeInto(text, position === 0 ? bytes : bytes.subarray(position)).written;
  }

  allocUnsafe(size: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(size);
  }

  utf8Read(bytes: Uint8Array, start: number, end: number): string {
    return this.#decoder.decode(bytes.subarray(start, end));
  }

  asciiRead(bytes: Uint8Array, start: number, end: number): string {
    return this.#decoder.decode(bytes.subarray(start, end));
  }

  latin1Write(text: string, bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  }

  utf16Write(text: string, bytes: Uint8Array, position: number): void {
    for (let i = 0, offset = position; i < text.length; i++, offset += 2) {
      const code = text.charCodeAt(i);
      bytes[offset] = code;
      bytes[offset + 1] = code >> 8;
    }
  }

  /** TextDecoder replaces lone surrogates. If there are any, the text is decoded by hand. */
  utf16Read(bytes: Uint8Array, start: number, end: number): string {
    const decoded = this.#utf16.decode(bytes.subarray(start, end));
    if (!decoded.includes("\ufffd")) return decoded;
    const units = new Uint16Array(bytes.slice(start, end).buffer);
    let text = "";
    for (let i = 0; i < units.length; i += 4096) {
      text += String.fromCharCode.apply(null, units.subarray(i, i + 4096) as never);
    }
    return text;
  }

  /** Queries the permission first: without it, Deno would stop the program and ask the user. */
  env(name: string): string | undefined {
    const { permissions, env } = this.#deno;
    return permissions.querySync({ name: "env" as never, variable: name }).state === "granted"
      ? env.get(name)
      : undefined;
  }

  /**
   * Only a socket of Node can watch a descriptor. Loading `node:net` takes about 20 ms, once. Older
   * versions of Deno cannot open a socket for a descriptor.
   */
  watchReadable(fd: number, onReadable: () => void): boolean {
    try {
      const socket = new (builtin<NodeNet>("net").Socket)({ fd, readable: true, writable: false });
      socket.on("error", () => {});
      socket.on("data", onReadable);
      socket.unref();
      return true;
    } catch {
      return false;
    }
  }

  openFds(): number[] {
    return []; // Deno is never forked
  }

  environment(): Record<string, string> | undefined {
    const { permissions, env } = this.#deno;
    const { state, partial } = permissions.querySync({ name: "env" as never });
    return state === "granted" && !partial ? env.toObject() : undefined;
  }

  cwd(): string | undefined {
    try {
      return this.#deno.cwd();
    } catch {
      return undefined;
    }
  }

  canRead(path: string): boolean {
    return this.#deno.permissions.querySync({ name: "read" as never, path }).state === "granted";
  }

  readTextFile(path: string): string {
    if (!this.canRead(path)) {
      throw new CapabilityError(`Reading "${path}" is not permitted: run Deno with --allow-read=${path}`);
    }
    return this.#deno.readTextFileSync(path);
  }

  tempDir(): string {
    return this.env("TMPDIR") || "/tmp";
  }

  makePrivateDir(parent: string, prefix: string): string {
    return this.#deno.makeTempDirSync({ dir: parent, prefix });
  }

  remove(path: string): void {
    try {
      this.#deno.removeSync(path, { recursive: true });
    } catch (error) {
      if ((error as Error).name !== "NotFound") throw error;
    }
  }

  availableParallelism(): number {
    return navigator.hardwareConcurrency;
  }

  signalNumber(signal: string): number {
    return denoSignalNumber(signal, this.#deno.build.os);
  }

  onExit(run: () => void): void {
    addEventListener("unload", run, { once: true });
  }

  onIdle(run: () => boolean): void {
    addEventListener("beforeunload", (event) => {
      if (run()) event.preventDefault();
    });
  }

  onUncaughtError(run: (error: unknown) => void): void {
    const listen = (type: string, read: (event: never) => unknown): void =>
      addEventListener(type, (event) => {
        // If the program has a handler of its own, that handler decides.
        if (event.defaultPrevented) return;
        event.preventDefault();
        run(read(event as never));
      });
    listen("error", (event: ErrorEvent) => event.error);
    listen("unhandledrejection", (event: PromiseRejectionEvent) => event.reason);
  }

  onUnhandledRejection(claim: (reason: unknown) => boolean): void {
    addEventListener("unhandledrejection", (event) => {
      if (claim((event as PromiseRejectionEvent).reason)) event.preventDefault();
    });
  }

  onSignal(signal: string, run: () => void): () => void {
    this.#deno.addSignalListener(signal as never, run);
    return () => this.#deno.removeSignalListener(signal as never, run);
  }

  exit(code: number): never {
    return this.#deno.exit(code);
  }

  flushOutputOnExit(): void {} // Deno writes to its standard streams synchronously

  pendingOutput(): number {
    return 0;
  }

  restoreStandardStreams(): void {} // Deno does not change them

  writeError(text: string): void {
    this.writeOutput("stderr", this.#encoder.encode(text));
  }

  writeOutput(stream: "stdout" | "stderr", bytes: Uint8Array): undefined {
    try {
      for (let done = 0; done < bytes.length; ) done += this.#deno[stream].writeSync(bytes.subarray(done));
    } catch {} // nothing reads the stream
  }

  activeResources(): readonly string[] {
    return [];
  }

  asyncLocalStorage(): AsyncStorage {
    const { AsyncLocalStorage } = builtin<{ AsyncLocalStorage: new () => AsyncStorage }>("async_hooks");
    return new AsyncLocalStorage();
  }

  startThread(module: URL, name: string, depth: number): Thread {
    return startThread(module, name, depth, false);
  }

  threadDepth(): number {
    return threadDepth();
  }

  threadStream(): ByteStream | undefined {
    // Deno 2.5 does not report that a thread has exited.
    const lacksExitEvent = this.#deno.version.deno.startsWith("2.5.");
    return threadStream(lacksExitEvent ? (run) => this.onExit(run) : undefined);
  }

  memoryUsed(): number {
    return this.#deno.memoryUsage().rss;
  }

  debugFlags(): undefined {
    return undefined; // Deno does not report that a program is being debugged
  }

  diagnosticsChannel(name: string): DiagnosticsChannel {
    return builtin<{ channel(name: string): DiagnosticsChannel }>("diagnostics_channel").channel(name);
  }

  bindAsyncContext<A extends unknown[], R>(run: (...args: A) => R): (...args: A) => R {
    const { AsyncLocalStorage } = builtin<{ AsyncLocalStorage: { bind<F>(run: F): F } }>("async_hooks");
    return AsyncLocalStorage.bind(run);
  }

  /** A timer of 0 ms fires after 2 ms, in which Deno serves input. */
  afterIo(run: () => void): void {
    setTimeout(run, 0);
  }

  /**
   * The global `setImmediate()` does not load `node:timers` and takes microseconds, but Deno serves
   * input only in some of the turns.
   */
  setImmediate(run: () => void): void {
    setImmediate(run);
  }

  timer(run: () => void, delayMs: number, keepAlive: boolean): () => void {
    const id = setTimeout(run, delayMs);
    if (!keepAlive) unrefTimer(this.#deno, id);
    return () => clearTimeout(id);
  }
}
