import {
  type AtForkHooks,
  afterForkInChild,
  type ByteStream,
  type Channel,
  checkTimeout,
  host,
  MAX_TIMER_MS,
  registerAtFork,
  reserveSocketPath,
  responsiveTimeout,
  StreamChannel,
  type StreamServer,
  singleton,
  type WaitOptions,
  withTimeoutOrThrow,
} from "@multiproc/core/internal";
import { Connection } from "./connection.ts";
import { endForChannel } from "./ends/local-end.ts";
import { ConnectionError } from "./errors.ts";
import { type Address, checkAddress, formatAddress } from "./wire/address.ts";
import { answerChallenge, deliverChallenge } from "./wire/auth.ts";
import { checkKey } from "./wire/auth-key.ts";
import { HandshakeStream } from "./wire/handshake-stream.ts";
import { WireChannel } from "./wire/wire-channel.ts";

/** So many strangers may be greeted at a time; the one that has been silent longest makes room for the next. */
const MAX_HANDSHAKE_COUNT = 1000;
const LOOPBACK = "127.0.0.1";

/**
 * How a {@link Listener} is made.
 *
 * @example A port of this machine, for those who have the key
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
   * Where to listen: the path of a Unix socket, which must not exist yet, or `{ host, port }`, where port 0 stands for a free one.
   *
   * @default a Unix socket in a folder that nobody but this user can enter; with family "inet" a free port of this machine alone
   */
  readonly address?: Address | undefined;
  /** The kind of address. @default that of `address`, or "unix" */
  readonly family?: "unix" | "inet" | undefined;
  /** How many may wait to be accepted; more are turned away. @default 128 */
  readonly backlog?: number | undefined;
  /** The key that whoever connects must have. @default none is asked for */
  readonly authKey?: Uint8Array | undefined;
  /** How long somebody may take to prove that it has the key, in milliseconds. @default 10000 */
  readonly handshakeTimeout?: number | undefined;
}

interface AcceptedConnection {
  readonly connection: Connection<never>;
  readonly remoteAddress: Address;
}

/** Set by the class, whose private parts it uses. */
let AT_FORK_HOOKS: AtForkHooks<Listener>;

/**
 * A place where other processes connect to, of this program or of any other: with `connect()`, or with `Client()` of Python's
 * `multiprocessing.connection`.
 *
 * With an `authKey`, both sides prove that they have it before anything else. Who does not, is told so and cut off, and who
 * says nothing is cut off after a time; neither holds up others, nor is `accept()` told of them. Two sides of this library that
 * have proved it can send values to each other. With a Python process, or without a key, bytes cross and nothing else.
 *
 * A Unix socket is its owner's alone, and gone when the listener is closed. A port can be reached by every user of the machine:
 * give it a key.
 *
 * @example A Python process on the other side
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
 * @example All who come
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
  /** Settles with this listener when it listens: only then the port is known, if it is to be a free one. */
  readonly ready: Promise<this>;
  readonly #key: Uint8Array | undefined;
  readonly #backlog: number;
  readonly #handshakeTimeoutMs: number;
  readonly #server: StreamServer;
  #address: Address;
  #lastAccepted: Address | undefined;
  /** Why nobody can be accepted any more. */
  #closeReason: ConnectionError | undefined;
  readonly #handshakes = new Set<HandshakeStream>();
  #accepted: AcceptedConnection[] = [];
  readonly #waiters = new Set<(accepted: AcceptedConnection | undefined) => void>();
  readonly #watchers = new Set<() => void>();
  #settleReady: (error?: ConnectionError) => void = () => {};

  /**
   * Begins to listen. A Unix socket is there when this returns.
   *
   * @throws {TypeError} if the options are none
   */
  constructor(options: ListenerOptions = {}) {
    const { backlog = 128, handshakeTimeout = 10_000 } = options;
    if (!(Number.isInteger(backlog) && backlog > 0))
      throw new RangeError(`new Listener() takes a backlog of 1 or more, not ${backlog}`);
    checkTimeout("new Listener()", handshakeTimeout);
    this.#key = checkKey("new Listener()", options.authKey);
    this.#backlog = backlog;
    this.#handshakeTimeoutMs = handshakeTimeout;
    this.#address = addressFor(options);
    this.ready = new Promise((resolve, reject) => {
      this.#settleReady = (error) => (error === undefined ? resolve(this) : reject(error));
    });
    this.ready.catch(() => {}); // accept() tells of it too
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
      // The socket and all who come to it stay with the parent.
      inChild(listener) {
        const message = "This listener belongs to the process that this one was copied from: make one of your own";
        listener.#closeReason ??= new ConnectionError(message, "ERR_LISTENER_CLOSED");
        listener.#accepted = [];
        listener.#handshakes.clear();
        listener.#waiters.clear();
        listener.#watchers.clear();
      },
    };
  }

  /**
   * Where it listens.
   *
   * @throws {ConnectionError} if it was given a free port and does not know it yet: await {@link Listener.ready}
   */
  get address(): Address {
    if (typeof this.#address !== "string" && this.#address.port === 0)
      throw new ConnectionError(
        'The address of this listener is known once "await listener.ready" is over',
        "ERR_LISTEN",
      );
    return this.#address;
  }

  /** Where the connection came from that `accept()` gave last; an empty path for a Unix socket. */
  get lastAccepted(): Address | undefined {
    return this.#lastAccepted;
  }

  /** Whether it was closed, by `close()` here. */
  get closed(): boolean {
    return this.#closeReason !== undefined;
  }

  /**
   * The next connection.
   *
   * @typeParam T what will be received from it
   * @throws {ConnectionError} if the address could not be had, or the listener is closed
   * @throws {TimeoutError} when the time ran out
   */
  async accept<T = unknown>(options: WaitOptions = {}): Promise<Connection<T>> {
    options.signal?.throwIfAborted();
    this.#assertOpen("accept()");
    const accepted = this.#accepted.shift() ?? (await this.#nextAccepted(options));
    this.#lastAccepted = accepted.remoteAddress;
    return accepted.connection as unknown as Connection<T>;
  }

  /** Stops listening and removes the address. Connections that were accepted stay; those that wait for it are closed. */
  close(): void {
    if (this.#closeReason !== undefined) return;
    const at = formatAddress(this.#address);
    this.#end(new ConnectionError(`accept() on the listener at ${at} ended: it is closed`, "ERR_LISTENER_CLOSED"));
  }

  /** Accepts whoever comes, until the listener is closed. */
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

  /** @internal */
  "multiproc:check"(call: string): void {
    this.#assertOpen(call);
  }

  /** @internal */
  "multiproc:ready"(): boolean {
    return this.#closeReason !== undefined || this.#accepted.length > 0;
  }

  /** @internal */
  "multiproc:watch"(run: () => void): () => void {
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
      const channelStream = handshake.release();
      this.#enqueue(
        stream,
        isMultiproc ? new StreamChannel(channelStream, { peer }) : new WireChannel(channelStream, peer),
        isMultiproc,
      );
    } catch {
      handshake.finish(); // it was told what it may know
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
    const connection = new Connection<never>(endForChannel(channel), true, true, carriesValues);
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
      ? "another one listens there, or one that was killed has left its socket behind: remove it then"
      : "choose another address, or see to it that this process may listen there";
    this.#end(new ConnectionError(`Cannot listen at ${at}: ${hint} (${cause.message})`, "ERR_LISTEN", { cause }));
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
    if (this.#closeReason.code !== "ERR_LISTENER_CLOSED") throw this.#closeReason;
    throw new ConnectionError(`${call} was called on a listener after close()`, "ERR_LISTENER_CLOSED");
  }
}

/** The listeners whose sockets are to be removed when the process ends. */
function openListeners(): Set<Listener> {
  return singleton("listeners", () => {
    const open = new Set<Listener>();
    host.onExit(() => {
      for (const listener of open) listener.close();
    });
    // They are the parent's.
    afterForkInChild(() => open.clear());
    return open;
  });
}

function addressFor({ address, family }: ListenerOptions): Address {
  if (family !== undefined && family !== "unix" && family !== "inet")
    throw new TypeError(`new Listener() takes "unix" or "inet" as family, not ${JSON.stringify(family)}`);
  if (address === undefined) return family === "inet" ? { host: LOOPBACK, port: 0 } : reserveSocketPath();
  const checked = checkAddress("new Listener()", address);
  const actualFamily = typeof checked === "string" ? "unix" : "inet";
  if (family !== undefined && family !== actualFamily)
    throw new TypeError(`new Listener() got the family "${family}" and an address of family "${actualFamily}"`);
  return checked;
}
