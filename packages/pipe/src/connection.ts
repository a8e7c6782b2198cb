import {
  type AtForkHooks,
  areLoaded,
  checkTimeout,
  type EndpointAddress,
  loadModules,
  makeShareable,
  registerAtFork,
  registerLibraryModule,
  type SharedHandle,
  type WaitOptions,
} from "@multiproc/core/internal";
import { receiveBlocking, sendBlocking } from "./ends/blocking.ts";
import type { PipeEnd } from "./ends/pipe-end.ts";
import {
  decodeFrame,
  drainReady,
  EMPTY,
  endOfPipe,
  MessageIterator,
  messageBytes,
  nextFrame,
  pollQueue,
} from "./ends/receive.ts";
import { RemoteEnd } from "./ends/remote-end.ts";
import { sendEach } from "./ends/send-many.ts";
import { BufferTooShortError, bytesOnlyError, ConnectionError } from "./errors.ts";
import { toReadable, toWritable } from "./web-streams.ts";

const SENT: Promise<void> = Promise.resolve();
const NO_OPTIONS: WaitOptions = {};
/** Set by the class, whose private parts it uses. */
let AT_FORK_HOOKS: AtForkHooks<Connection<never>>;

/**
 * One end of a pipe. It can be given to other processes: as an argument, through another connection, through a queue. Who
 * has it then holds the end; the process that gave it holds it again as soon as it uses it.
 *
 * @typeParam T what is received; what is sent is checked by the other end's type
 *
 * @example A message to oneself
 * ```ts
 * import { pipe } from "@multiproc/pipe";
 *
 * const [a, b] = pipe<string>();
 * await a.send("hello");
 * console.log(await b.recv()); // "hello"
 * a.close();
 * b.close();
 * ```
 */
export class Connection<T = unknown> implements AsyncIterable<T> {
  /** None in a forked child until it uses the connection. */
  #ownEnd: PipeEnd | undefined;
  /** How a forked child reaches this side. */
  #endpoint: EndpointAddress | undefined;
  /** Whether messages can be received here. */
  readonly readable: boolean;
  /** Whether messages can be sent here. */
  readonly writable: boolean;
  /** Whether `send()` can be used: not where the other side may be no process of this library. */
  readonly #carriesValues: boolean;
  #closed = false;

  /** @internal */
  constructor(end: PipeEnd, readable: boolean, writable: boolean, carriesValues: boolean) {
    this.#ownEnd = end;
    this.readable = readable;
    this.writable = writable;
    this.#carriesValues = carriesValues;
    registerAtFork(this as object, AT_FORK_HOOKS as AtForkHooks<object>);
  }

  static {
    AT_FORK_HOOKS = {
      prepare(connection) {
        if (!connection.#closed) connection.#endpoint = connection.#end.endpoint();
      },
      inChild(connection) {
        connection.#ownEnd = undefined;
      },
    };
  }

  /** In a forked child it dials when it is first used: a copy that nobody uses holds no end open. */
  get #end(): PipeEnd {
    if (this.#ownEnd !== undefined) return this.#ownEnd;
    if (this.#endpoint === undefined)
      throw new ConnectionError("This connection was closed before the process was copied", "ERR_CONNECTION_CLOSED");
    return (this.#ownEnd = new RemoteEnd({ endpoint: this.#endpoint, claim: "" }));
  }

  /** Whether this end was closed, by `close()` here. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Sends a value. It is encoded at once: what happens to it afterwards does not change the message, but for binary parts of
   * 64 KiB and more, which may be reused when the promise has settled. Waits while the other side is slow.
   *
   * @throws {SendError} if the value cannot be sent; nothing was sent then
   * @throws {BrokenPipeError} if nobody holds the other end any more
   * @throws {ConnectionError} if this end is closed, or only receives, or the other side takes bytes alone; see {@link Listener}
   */
  send(value: unknown): Promise<void> {
    try {
      return this.#sendNow("send()", value) ?? SENT;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Sends many values, each as a message of its own, in order. It does what a loop that awaits `send()` for each does, in less
   * time: nothing is awaited while there is room. Waits while the other side is slow, and takes no more values meanwhile.
   *
   * @throws {TypeError} if there is nothing to iterate over
   * @throws what `send()` and the iterable do; the messages before have been sent
   */
  async sendMany(values: Iterable<unknown> | AsyncIterable<unknown>): Promise<void> {
    const send = (value: unknown): Promise<void> | undefined => this.#sendNow("sendMany()", value, true);
    await sendEach(values, { send, flush: () => this.#ownEnd?.flush() });
  }

  /**
   * Sends a value, and blocks the thread until it has left; see {@link Connection.recvSync}.
   *
   * @throws {SendError} if the value cannot be sent; nothing was sent then
   * @throws {BrokenPipeError} if nobody holds the other end any more
   * @throws {CapabilityError} where nothing could leave while the thread is blocked; nothing was sent then
   * @throws {ConnectionError} if this end is closed, or only receives, or the other side takes bytes alone
   */
  sendSync(value: unknown): void {
    const end = this.#endForSending("sendSync()", true);
    sendBlocking(end, "sendSync()", value);
    const { brokenError } = end;
    if (brokenError !== undefined) throw brokenError;
  }

  /**
   * Sends bytes as one message, without encoding them.
   *
   * @param bytes what is sent; it may be reused when the promise has settled
   * @param offset where the message begins
   * @param size how many bytes it has; up to the end of `bytes` when missing
   * @throws {RangeError} if `offset` and `size` do not lie within `bytes`
   * @throws {BrokenPipeError} if nobody holds the other end any more
   * @throws {ConnectionError} if this end is closed, or only receives
   */
  async sendBytes(bytes: Uint8Array, offset: number = 0, size: number = bytes.length - offset): Promise<void> {
    const end = this.#endForSending("sendBytes()");
    if (!(bytes instanceof Uint8Array)) throw new TypeError("sendBytes() takes a Uint8Array");
    if (!(offset >= 0 && size >= 0 && offset + size <= bytes.length)) {
      throw new RangeError(`sendBytes() got offset ${offset} and size ${size} for ${bytes.length} bytes`);
    }
    end.sendBytes(offset === 0 && size === bytes.length ? bytes : bytes.subarray(offset, offset + size));
    if (end.full) await this.#waitForDrain();
  }

  /**
   * Receives the next message.
   *
   * @throws {EOFError} if there is none, and nobody is left who could send one
   * @throws {TimeoutError} when the time ran out
   * @throws {ConnectionError} if this end is closed, or only sends
   */
  recv(options: WaitOptions = NO_OPTIONS): Promise<T> {
    try {
      options.signal?.throwIfAborted();
      // What is there is given at once: a wait costs several turns of the microtask queue.
      const value = this.#takeNow("recv()");
      return value === EMPTY ? this.#recvLater("recv()", options) : Promise.resolve(value);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Receives the messages that are there, in order, and waits for one if there is none: many small ones take less time than
   * as many calls of `recv()`. One that needs a module, as those with instances of classes do, is always the first.
   *
   * @param most how many at most; all of them when missing
   * @throws {RangeError} if that is less than 1
   * @throws as {@link Connection.recv}
   */
  async recvMany(maxCount: number = Number.POSITIVE_INFINITY, options: WaitOptions = NO_OPTIONS): Promise<T[]> {
    if (!(maxCount >= 1)) throw new RangeError(`recvMany() takes 1 or more messages, not ${maxCount}`);
    options.signal?.throwIfAborted();
    const value = this.#takeNow("recvMany()");
    const first = value === EMPTY ? await this.#recvLater("recvMany()", options) : value;
    return drainReady(this.#end, [first], maxCount);
  }

  /**
   * Receives the next message, and blocks the thread until it is there: nothing else of this process runs meanwhile. For code
   * in a child that has nothing else to do. It takes memory in common; the package's README says in which processes it works.
   *
   * @throws {EOFError} if there is none, and nobody is left who could send one
   * @throws {TimeoutError} when the time ran out
   * @throws {CapabilityError} where nothing could be heard while the thread is blocked; or the message needs a module that is
   * not loaded: it stays
   * @throws {ConnectionError} if this end is closed, or only sends
   */
  recvSync(options: Pick<WaitOptions, "timeout"> = {}): T {
    const call = "recvSync()";
    checkTimeout(call, options.timeout);
    const end = this.#endForReceiving(call);
    const frame = receiveBlocking(end, call, options.timeout ?? Number.POSITIVE_INFINITY);
    if (frame === undefined) throw endOfPipe(end, call);
    return decodeFrame(end, frame) as T;
  }

  /**
   * Receives the next message, which was sent by `sendBytes()`.
   *
   * @param maxLength the longest message that is wanted
   * @throws {BufferTooShortError} if the message is longer; it is in the error
   * @throws {ConnectionError} if the next message was sent by `send()`: it stays, `recv()` takes it
   * @throws {EOFError} if there is none, and nobody is left who could send one
   */
  async recvBytes(maxLength: number = Number.POSITIVE_INFINITY, options: WaitOptions = {}): Promise<Uint8Array> {
    if (!(maxLength >= 0)) throw new RangeError(`recvBytes() takes a maximum of 0 or more bytes, not ${maxLength}`);
    const bytes = await this.#nextBytes("recvBytes()", options);
    if (bytes.length > maxLength) throw new BufferTooShortError("recvBytes()", bytes, maxLength);
    return bytes;
  }

  /**
   * Receives the next message, which was sent by `sendBytes()`, into a buffer.
   *
   * @param buffer where the message goes
   * @param offset where in the buffer it begins
   * @returns how many bytes the message had
   * @throws {BufferTooShortError} if there is no room for it; it is in the error
   * @throws {EOFError} if there is none, and nobody is left who could send one
   */
  async recvBytesInto(buffer: Uint8Array, offset: number = 0, options: WaitOptions = {}): Promise<number> {
    if (!(offset >= 0 && offset <= buffer.length)) {
      throw new RangeError(`recvBytesInto() got offset ${offset} for a buffer of ${buffer.length} bytes`);
    }
    const bytes = await this.#nextBytes("recvBytesInto()", options);
    if (bytes.length > buffer.length - offset)
      throw new BufferTooShortError("recvBytesInto()", bytes, buffer.length - offset);
    buffer.set(bytes, offset);
    return bytes.length;
  }

  /**
   * Whether `recv()` would return, or throw its `EOFError`, at once.
   *
   * @param timeout how long to wait for that, in milliseconds
   */
  async poll(timeout: number = 0, options: Pick<WaitOptions, "signal"> = {}): Promise<boolean> {
    checkTimeout("poll()", timeout);
    const { receiveQueue } = this.#endForReceiving("poll()");
    return receiveQueue.isReady || (await pollQueue(receiveQueue, { ...options, timeout }));
  }

  /**
   * What is received from now on, as a stream of bytes: each message is a chunk, empty ones are left out. It is read only as
   * fast as chunks are taken. It ends, and closes this connection, when the other end is gone; cancelling it closes this
   * connection too.
   */
  toReadableStream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    this.#endForReceiving("toReadableStream()");
    return toReadable(this);
  }

  /**
   * A stream whose chunks are sent, each as one message of bytes. Closing or aborting it closes this connection, in both
   * directions.
   */
  toWritableStream(): WritableStream<Uint8Array> {
    this.#endForSending("toWritableStream()");
    return toWritable(this);
  }

  /** Closes this end in this process; what was sent still arrives. Others that hold the end keep it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#ownEnd?.receiveQueue.end();
    this.#ownEnd?.close();
  }

  /** Receives messages until the other end is gone. */
  [Symbol.asyncIterator](): AsyncIterableIterator<T, void, undefined> {
    return new MessageIterator(
      () => this.#takeNow("for await"),
      () => this.#recvLater("for await", NO_OPTIONS),
    );
  }

  /** Closes this end. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** Closes this end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  static {
    makeShareable(
      this,
      (connection) => connection.#toHandle(),
      (connection, data) => connection.#reattach(data),
    );
  }

  #toHandle(): SharedHandle {
    if (this.#closed) throw new ConnectionError("A connection cannot be sent after close()", "ERR_CONNECTION_CLOSED");
    const { data, commit } = this.#end.prepareHandOver();
    return {
      kind: "pipe.Connection",
      module: MODULE,
      data: [
        data.endpoint.socketPath,
        data.endpoint.token,
        data.claim,
        this.readable,
        this.writable,
        this.#carriesValues,
      ],
      commit,
    };
  }

  #reattach(data: unknown): void {
    const [socketPath, token, claim] = data as [string, string, string];
    this.#ownEnd = new RemoteEnd({ endpoint: { socketPath: socketPath, token }, claim });
  }

  /** @internal */
  "multiproc:check"(call: string): void {
    this.#endForReceiving(call);
  }

  /** @internal */
  "multiproc:ready"(): boolean {
    return this.#closed || this.#end.receiveQueue.isReady;
  }

  /** @internal */
  "multiproc:watch"(run: () => void): () => void {
    return this.#end.receiveQueue.watch(run);
  }

  /** Sends a value; the answer is what to wait for, where the other side is slow. */
  #sendNow(call: string, value: unknown, corked = false): Promise<void> | undefined {
    return this.#endForSending(call, true).send(value, corked) ? undefined : this.#waitForDrain();
  }

  /** Waits for room; whoever was to make it may be gone meanwhile. */
  async #waitForDrain(): Promise<void> {
    await this.#end.drained();
    const { brokenError } = this.#end;
    if (brokenError !== undefined && !this.#closed) throw brokenError;
  }

  #endForSending(call: string, needsValues = false): PipeEnd {
    if (this.#closed)
      throw new ConnectionError(`${call} was called on a connection after close()`, "ERR_CONNECTION_CLOSED");
    if (needsValues && !this.#carriesValues) throw bytesOnlyError();
    if (!this.writable)
      throw new ConnectionError(`${call} was called on the receiving end of a one-way pipe`, "ERR_DIRECTION");
    const end = this.#end;
    const { brokenError } = end;
    if (brokenError !== undefined) throw brokenError;
    end.markUsed();
    return end;
  }

  #endForReceiving(call: string): PipeEnd {
    if (this.#closed)
      throw new ConnectionError(`${call} was called on a connection after close()`, "ERR_CONNECTION_CLOSED");
    if (!this.readable)
      throw new ConnectionError(`${call} was called on the sending end of a one-way pipe`, "ERR_DIRECTION");
    const end = this.#end;
    end.markUsed();
    return end;
  }

  /** The next message, if it is there and needs no module that is not loaded. */
  #takeNow(call: string): T | typeof EMPTY {
    const end = this.#endForReceiving(call);
    const frame = end.receiveQueue.peek();
    if (frame === undefined || !areLoaded(frame.modules)) return EMPTY;
    end.receiveQueue.take();
    return decodeFrame(end, frame) as T;
  }

  async #recvLater(call: string, options: WaitOptions): Promise<T> {
    const end = this.#endForReceiving(call);
    const frame = await nextFrame(this, end, call, options);
    if (!areLoaded(frame.modules)) await loadModules(frame.modules);
    return decodeFrame(end, frame) as T;
  }

  async #nextBytes(call: string, options: WaitOptions): Promise<Uint8Array> {
    return messageBytes(await nextFrame(this, this.#endForReceiving(call), call, options, true));
  }
}

/** The module that a receiver loads to get connections. */
const MODULE: string = registerLibraryModule(import.meta.url, "@multiproc/pipe");
