import {
  type AtForkHooks,
  afterForkInChild,
  type ByteStream,
  type Channel,
  checkOptions,
  checkWaitOptions,
  describeValue,
  host,
  MAX_TIMER_MS,
  registerAtFork,
  reserveSocketPath,
  responsiveTimeout,
  type StreamServer,
  singleton,
  type WaitOptions,
  withTimeoutOrThrow,
} from "@multiproc/core/internal";
import { Connection } from "./connection.ts";
import { endForChannel } from "./ends/local-end.ts";
import { ConnectionError } from "./errors.ts";
import { makeWaitable } from "./waitable.ts";
import { type Address, checkAddress, formatAddress } from "./wire/address.ts";
import { answerChallenge, checkKey, deliverChallenge } from "./wire/auth.ts";
import { HandshakeStream } from "./wire/handshake-stream.ts";
import { authenticatedChannel, WireChannel } from "./wire/wire-channel.ts";

/** Concurrent handshakes. A new one replaces the oldest, so that silent peers cannot block the listener. */
const MAX_HANDSHAKE_COUNT = 1000;
const LOOPBACK_HOST = "127.0.0.1";
const DEFAULT_BACKLOG = 128;
const DEFAULT_HANDSHAKE_TIMEOUT_MS = 10_000;
const OPTIONS = ["address", "family", "backlog", "authKey", "handshakeTimeout"];
/** Python's names for these options. */
const SYNONYMS = { authkey: "authKey" };

/**
 * Options of a {@link Listener}.
 *
 * @example A port on this machine, for processes that have the key
 * ```ts
 * import { Listener, type ListenerOptions } from "@multiproc/pipe";
 *
 * const options: ListenerOptions = { family: "inet", authKey: new TextEncoder().encode("secret"), backlog: 10 };
 * const listener = new Listener(options);
 * await listener.ready;
 * console.log(typeof listener.address); // object: { host, port }
 * listener.close();
 * ```
 */
export interface ListenerOptions {
  /**
   * The path of a Unix socket, which must not exist yet, or `{ host, port }`. Port 0 means any free port.
   *
   * @default a Unix socket in a folder of this user; with family "inet", a free port on the loopback interface
   */
  readonly address?: Address | undefined;
  /** The kind of address. @default the kind of `address`, or "unix" */
  readonly family?: "unix" | "inet" | undefined;
  /** Connections that may wait for `accept()`. Further ones are closed. @default 128 */
  readonly backlog?: number | undefined;
  /** The key that a connecting process must have. @default no authentication */
  readonly authKey?: Uint8Array | undefined;
  /** Time in which a connecting process must prove that it has the key, in milliseconds. @default 10000 */
  readonly handshakeTimeout?: number | undefined;
}

interface AcceptedConnection {
  readonly connection: Connection;
  readonly remoteAddress: Address;
}

/** Set in a static block of the class, because the hooks use private members. */
let AT_FORK_HOOKS: AtForkHooks<Listener>;

/**
 * An address to which other processes connect: with `connect()` of this library, or with `Client()`
 * of Python's `multiprocessing.connection`.
 *
 * With an `authKey`, both sides first prove that they have the key. The listener closes connections
 * that fail the handshake, or do not finish it in time. `accept()` does not report or wait for them.
 *
 * Two processes of this library that share a key can send values to each other. With a Python
 * process, or without a key, a connection carries bytes only.
 *
 * Only this user can connect to the Unix socket, which `close()` removes. Every user of the machine
 * can connect to a port, so give it a key.
 *
 * @example A Python client
 * ```ts no-run
 * import { Listener } from "@multiproc/pipe";
 *
 * // Client(("localhost", 6000), authkey=b"secret").send_bytes(b"hello")
 * const listener = new Listener({ address: { host: "127.0.0.1", port: 6000 }, authKey: new TextEncoder().encode("secret") });
 * const connection = await listener.accept();
 * console.log(new TextDecoder().decode(await connection.recvBytes())); // "hello"
 * listener.close();
 * ```
 *
 * @example All connections
 * ```ts
 * import { connect, Listener } from "@multiproc/pipe";
 *
 * await using listener = new Listener();
 * const client = await connect(listener.address);
 * await client.sendBytes(Uint8Array.of(1, 2, 3));
 * for await (const connection of listener) {
 *   console.log(await connection.recvBytes()); // Uint8Array(3) [ 1, 2, 3 ]
 *   connection.close();
 *   break;
 * }
 * client.close();
 * ```
 */
export class Listener implements AsyncIterable<Connection> {
  /** Resolves with this listener when it listens. From then on, `address` holds the number of the port. */
  readonly ready: Promise<this>;
  readonly #key: Uint8Array | undefined;
  readonly #backlog: number;
  readonly #handshakeTimeoutMs: number;
  readonly #server: StreamServer;
  #address: Address;
  #lastAccepted: Address | undefined;
  /** The error of `accept()` once the listener has ended. */
  #closeReason: ConnectionError | undefined;
  /** Whether `close()` ended the listener. Otherwise a failure or a fork did. */
  #isClosedHere = false;
  readonly #handshakes = new Set<HandshakeStream>();
  #accepted: AcceptedConnection[] = [];
  readonly #waiters = new Set<(accepted: AcceptedConnection | undefined) => void>();
  readonly #watchers = new Set<() => void>();
  #settleReady: (error?: ConnectionError) => void = () => {};

  /**
   * Starts to listen. A Unix socket exists when the constructor returns.
   *
   * @throws {TypeError} for an unknown option, or an option of the wrong type
   * @throws {RangeError} for an option that is out of range
   */
  constructor(options: ListenerOptions = {}) {
    checkOptions("new Listener()", options, OPTIONS, SYNONYMS);
    const { backlog = DEFAULT_BACKLOG, handshakeTimeout = DEFAULT_HANDSHAKE_TIMEOUT_MS } = options;
    if (!(Number.isInteger(backlog) && backlog > 0))
      throw new RangeError(`new Listener() takes a backlog of 1 or more, not ${describeValue(backlog)}`);
    if (!(typeof handshakeTimeout === "number" && handshakeTimeout >= 0))
      throw new RangeError(
        `new Listener() takes a handshakeTimeout of 0 or more milliseconds, not ${describeValue(handshakeTimeout)}`,
      );
    this.#key = checkKey("new Listener()", options.authKey);
    this.#backlog = backlog;
    this.#handshakeTimeoutMs = handshakeTimeout;
    this.#address = addressFor(options);
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = (error) => (error === undefined ? resolve(this) : reject(error));
    });
    this.ready.catch(() => {}); // accept() reports the error too
    this.#server = host.serve(this.#address, {
      accept: (stream) => void this.#authenticate(stream),
      listening: (address) => {
        this.#address = address;
        this.#settleReady();
      },
      failed: (error) => this.#fail(error),
    });
    if (typeof this.#address === "string") openListeners().add(this);
    registerAtFork(this as Listener, AT_FORK_HOOKS);
  }

  static {
    AT_FORK_HOOKS = {
      prepare() {},
      // The socket and its connections stay with the parent.
      inChild(listener) {
        const message = "accept() was called on a listener of the parent process: make a new one in this process";
        listener.#closeReason ??= new ConnectionError(message, "ERR_LISTENER_CLOSED");
        listener.#accepted = [];
        listener.#handshakes.clear();
        listener.#waiters.clear();
        listener.#watchers.clear();
      },
    };
    makeWaitable(this, {
      check: (listener, call) => listener.#assertOpen(call),
      isReady: (listener) => listener.#closeReason !== undefined || listener.#accepted.length > 0,
      watch: (listener, run) => listener.#watch(run),
    });
  }

  /**
   * The address that other processes connect to.
   *
   * @throws {ConnectionError} if the number of the free port is not known yet: await {@link Listener.ready} first
   */
  get address(): Address {
    if (typeof this.#address !== "string" && this.#address.port === 0)
      throw new ConnectionError(
        'The address of this listener has no port number yet: use "await listener.ready" first',
        "ERR_LISTEN",
      );
    return this.#address;
  }

  /** The address of the peer of the last accepted connection; an empty string for a Unix socket. */
  get lastAccepted(): Address | undefined {
    return this.#lastAccepted;
  }

  /** Whether the listener is closed: by `close()`, because it could not listen, or because this process was forked. */
  get closed(): boolean {
    return this.#closeReason !== undefined;
  }

  /**
   * Returns the next connection. Waits for one if there is none.
   *
   * @typeParam Receives the type of the messages that are received from it
   * @typeParam Sends the type of the values that are sent to it; the same type if it is left out
   * @throws {ConnectionError} if the listener could not listen at its address, or is closed
   * @throws {TimeoutError} if no process connects within `timeout`
   */
  async accept<Receives = unknown, Sends = Receives>(options: WaitOptions = {}): Promise<Connection<Receives, Sends>> {
    checkWaitOptions("accept()", options);
    options.signal?.throwIfAborted();
    this.#assertOpen("accept()");
    const accepted = this.#accepted.shift() ?? (await this.#nextAccepted(options));
    this.#lastAccepted = accepted.remoteAddress;
    return accepted.connection as Connection<Receives, Sends>;
  }

  /** Stops listening and removes the socket. Closes connections that wait for `accept()`, and no others. */
  close(): void {
    if (this.#closeReason !== undefined) return;
    this.#isClosedHere = true;
    const at = formatAddress(this.#address);
    this.#end(new ConnectionError(`accept() was cancelled by close() of the listener at ${at}`, "ERR_LISTENER_CLOSED"));
  }

  /** Accepts connections until the listener is closed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Connection, void, undefined> {
    while (true) {
      try {
        yield await this.accept();
      } catch (error) {
        if (error instanceof ConnectionError && error.code === "ERR_LISTENER_CLOSED") return;
        throw error;
      }
    }
  }

  /** Closes the listener. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** Closes the listener. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  #watch(run: () => void): () => void {
    this.#watchers.add(run);
    this.#server.ref();
    return () => {
      this.#watchers.delete(run);
      this.#unrefIfIdle();
    };
  }

  async #nextAccepted(options: WaitOptions): Promise<AcceptedConnection> {
    let waiter: (accepted: AcceptedConnection | undefined) => void = () => {};
    const pending = new Promise<AcceptedConnection | undefined>((resolve) => {
      waiter = resolve;
    });
    this.#waiters.add(waiter);
    this.#server.ref();
    try {
      const accepted = await withTimeoutOrThrow(pending, "accept()", options);
      if (accepted === undefined) throw this.#closeReason as ConnectionError;
      return accepted;
    } finally {
      this.#waiters.delete(waiter);
      this.#unrefIfIdle();
    }
  }

  async #authenticate(stream: ByteStream): Promise<void> {
    if (this.#closeReason !== undefined) return stream.destroy();
    const peer = `the process that connected${stream.remote === "" ? "" : ` from ${formatAddress(stream.remote)}`}`;
    if (this.#key === undefined) return this.#enqueue(stream, new WireChannel(stream, peer), false);
    const handshake = new HandshakeStream(stream);
    this.#evictOldestHandshake();
    this.#handshakes.add(handshake);
    const cancel = responsiveTimeout(() => handshake.destroy(), Math.min(this.#handshakeTimeoutMs, MAX_TIMER_MS));
    try {
      await deliverChallenge(handshake, this.#key);
      const isMultiproc = await answerChallenge(handshake, this.#key);
      this.#enqueue(stream, authenticatedChannel(handshake.release(), isMultiproc, peer), isMultiproc);
    } catch {
      handshake.finish(); // sends what deliverChallenge() has written; the peer learns no other reason
    } finally {
      cancel();
      this.#handshakes.delete(handshake);
    }
  }

  #evictOldestHandshake(): void {
    if (this.#handshakes.size < MAX_HANDSHAKE_COUNT) return;
    const [oldest] = this.#handshakes;
    oldest?.destroy();
    this.#handshakes.delete(oldest as HandshakeStream);
  }

  #enqueue(stream: ByteStream, channel: Channel, carriesValues: boolean): void {
    const [waiter] = this.#waiters;
    if (this.#closeReason !== undefined || (waiter === undefined && this.#accepted.length >= this.#backlog)) {
      channel.destroy();
      return;
    }
    const connection = new Connection(endForChannel(channel), true, true, carriesValues);
    const accepted = { connection, remoteAddress: stream.remote };
    if (waiter === undefined) this.#accepted.push(accepted);
    else {
      this.#waiters.delete(waiter);
      waiter(accepted);
    }
    this.#notifyWatchers();
  }

  #fail(cause: Error): void {
    const at = formatAddress(this.#address);
    const hint = /EADDRINUSE|AddrInUse|in use/.test(`${cause.name} ${cause.message}`)
      ? "choose another address, or remove the socket if the process that listened there was killed"
      : "choose another address, or allow this process to listen there";
    this.#end(
      new ConnectionError(`new Listener() cannot listen at ${at}: ${hint} (${cause.message})`, "ERR_LISTEN", { cause }),
    );
  }

  #end(error: ConnectionError): void {
    if (this.#closeReason !== undefined) return;
    this.#closeReason = error;
    openListeners().delete(this);
    this.#settleReady(error);
    this.#server?.close();
    for (const handshake of this.#handshakes) handshake.destroy();
    for (const { connection } of this.#accepted.splice(0)) connection.close();
    for (const waiter of this.#waiters) waiter(undefined);
    this.#waiters.clear();
    this.#notifyWatchers();
  }

  #notifyWatchers(): void {
    for (const run of [...this.#watchers]) run();
  }

  #unrefIfIdle(): void {
    if (this.#waiters.size === 0 && this.#watchers.size === 0) this.#server.unref();
  }

  #assertOpen(call: string): void {
    if (this.#closeReason === undefined) return;
    if (!this.#isClosedHere) throw this.#closeReason;
    throw new ConnectionError(`${call} was called on a listener after close(): make a new one`, "ERR_LISTENER_CLOSED");
  }
}

/** Returns the listeners whose sockets are removed when this process ends. */
function openListeners(): Set<Listener> {
  return singleton("listeners", () => {
    const open = new Set<Listener>();
    host.onExit(() => {
      for (const listener of open) listener.close();
    });
    // The sockets belong to the parent.
    afterForkInChild(() => open.clear());
    return open;
  });
}

function addressFor({ address, family }: ListenerOptions): Address {
  if (family !== undefined && family !== "unix" && family !== "inet")
    throw new TypeError(`new Listener() takes "unix" or "inet" as family, not ${describeValue(family)}`);
  if (address === undefined) return family === "inet" ? { host: LOOPBACK_HOST, port: 0 } : reserveSocketPath();
  const checked = checkAddress("new Listener()", address);
  const actualFamily = typeof checked === "string" ? "unix" : "inet";
  if (family !== undefined && family !== actualFamily)
    throw new TypeError(`new Listener() got the family "${family}" and an address of family "${actualFamily}"`);
  return checked;
}
