import {
  type AtForkHooks,
  areLoaded,
  type EndpointAddress,
  loadModules,
  makeShareable,
  registerAtFork,
  registerLibraryModule,
  registerReviver,
  type SharedHandle,
  type WaitOptions,
} from "@multiproc/core/internal";
import {
  bytesToSend,
  checkRecvBytes,
  checkRecvBytesInto,
  copyMessage,
  limitLength,
  type WritableBuffer,
} from "./bytes.ts";
import { receiveBlocking, sendBlocking } from "./ends/blocking.ts";
import type { PipeEnd } from "./ends/pipe-end.ts";
import {
  beginWait,
  checkRecvMany,
  decodeFrame,
  drainReady,
  EMPTY,
  MessageIterator,
  messageBytes,
  NO_OPTIONS,
  nextFrame,
  pollQueue,
} from "./ends/receive.ts";
import { type HandleData, RemoteEnd, remoteEndFor } from "./ends/remote-end.ts";
import { sendEach } from "./ends/send-many.ts";
import { bytesOnlyError, ConnectionError, closedError, directionError } from "./errors.ts";
import type { RecvBytesIntoOptions, RecvBytesOptions, RecvManyOptions, SendBytesOptions } from "./options.ts";
import { makeWaitable } from "./waitable.ts";
import { toReadable, toWritable } from "./web-streams.ts";

const SENT: Promise<void> = Promise.resolve();
/** Set in a static block of the class, because the hooks use private members. */
let AT_FORK_HOOKS: AtForkHooks<Connection>;

/**
 * One end of a pipe.
 *
 * It can be given to another process: as an argument, through another connection or through a queue.
 * That process then holds the end. The process that handed it over holds the end again when it next
 * uses this connection.
 *
 * @typeParam Receives the type of the messages that are received
 * @typeParam Sends the type of the values that are sent; the same type if it is left out
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
export class Connection<Receives = unknown, Sends = Receives> implements AsyncIterable<Receives> {
  /** Undefined in a forked child until it uses the connection. */
  #ownEnd: PipeEnd | undefined;
  /** The address that a forked child dials. */
  #endpoint: EndpointAddress | undefined;
  /** Whether this end can receive. */
  readonly readable: boolean;
  /** Whether this end can send. */
  readonly writable: boolean;
  /** Whether `send()` can be used. False if the peer may not be a process of this library. */
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
    makeShareable(
      this,
      (connection) => connection.#toHandle(),
      (connection, data) => {
        connection.#ownEnd = remoteEndFor(data as HandleData);
      },
    );
    makeWaitable(this, {
      check: (connection, call) => void connection.#endForReceiving(call),
      isReady: (connection) => connection.#closed || connection.#end.receiveQueue.isReady,
      watch: (connection, run) => connection.#end.receiveQueue.watch(run),
    });
  }

  /** A forked child dials at the first use. A copy that it does not use must not keep the end open. */
  get #end(): PipeEnd {
    if (this.#ownEnd !== undefined) return this.#ownEnd;
    if (this.#endpoint === undefined)
      throw new ConnectionError(
        "This connection was closed in the parent before the fork: close it after the fork, or make a new pipe",
        "ERR_CONNECTION_CLOSED",
      );
    return (this.#ownEnd = new RemoteEnd({ endpoint: this.#endpoint, claim: "" }));
  }

  /** Whether `close()` was called on this end in this process. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Sends a value, and waits while the receiver is slow (back-pressure).
   *
   * The value is encoded at once: later changes do not affect the message. Binary parts of 64 KiB and
   * more are an exception. Reuse their memory only after the promise has settled.
   *
   * @throws {SendError} if the value cannot be sent; nothing was sent
   * @throws {BrokenPipeError} if the other end is closed in every process
   * @throws {ConnectionError} if this end is closed, only receives, or carries bytes only; see `Listener`
   */
  send(value: Sends): Promise<void> {
    try {
      return this.#sendNow("send()", value) ?? SENT;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Sends many values, in order, each as its own message.
   *
   * Faster than a loop that awaits `send()`: it waits only while the receiver is slow, and takes no
   * further values then.
   *
   * @throws {TypeError} if `values` is not iterable
   * @throws the errors of `send()` and of the iterable; the messages before were sent
   */
  async sendMany(values: Iterable<Sends> | AsyncIterable<Sends>): Promise<void> {
    const send = (value: unknown): Promise<void> | undefined => this.#sendNow("sendMany()", value, true);
    await sendEach(values, { send, flush: () => this.#ownEnd?.flush() });
  }

  /**
   * Sends a value, and blocks the thread until it has left this process; see {@link Connection.recvSync}.
   *
   * @throws {SendError} if the value cannot be sent; nothing was sent
   * @throws {BrokenPipeError} if the other end is closed in every process
   * @throws {CapabilityError} where a blocked thread cannot send; nothing was sent
   * @throws {ConnectionError} if this end is closed, only receives, or carries bytes only
   */
  sendSync(value: Sends): void {
    sendBlocking(this.#endForSending("sendSync()", true), value);
  }

  /**
   * Sends bytes as one message, without encoding them.
   *
   * @param bytes the memory to send; reuse it only after the promise has settled
   * @param options which part of `bytes` to send; all of it if left out
   * @throws {TypeError} if `bytes` is not a `Uint8Array`
   * @throws {RangeError} if the part does not lie within `bytes`
   * @throws {BrokenPipeError} if the other end is closed in every process
   * @throws {ConnectionError} if this end is closed, or only receives
   */
  async sendBytes(bytes: Uint8Array, options?: SendBytesOptions): Promise<void> {
    const end = this.#endForSending("sendBytes()");
    end.sendBytes(bytesToSend(bytes, options));
    if (end.isFull) await this.#waitForDrain();
  }

  /**
   * Receives the next message.
   *
   * @throws {EOFError} if no message is left, and the other end is closed in every process
   * @throws {TimeoutError} if no message arrives within `timeout`
   * @throws {ConnectionError} if this end is closed, or only sends
   */
  recv(options: WaitOptions = NO_OPTIONS): Promise<Receives> {
    try {
      beginWait("recv()", options);
      // Waiting takes several microtasks, even if the message has arrived. So an arrived message skips the wait.
      const value = this.#takeReady("recv()");
      return value === EMPTY ? this.#recvLater("recv()", options) : Promise.resolve(value);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Receives all messages that have arrived, in order. Waits for a message if there is none.
   *
   * Many small messages take less time than with one `recv()` for each. A message that needs a module,
   * such as an instance of a class, is always the first of its batch.
   *
   * @throws {RangeError} if `max` is less than 1
   * @throws as {@link Connection.recv}
   */
  async recvMany(options: RecvManyOptions = NO_OPTIONS): Promise<Receives[]> {
    const maxCount = checkRecvMany(options);
    const value = this.#takeReady("recvMany()");
    const first = value === EMPTY ? await this.#recvLater("recvMany()", options) : value;
    return drainReady(this.#end, [first], maxCount);
  }

  /**
   * Receives the next message, and blocks the thread until it arrives.
   *
   * Nothing else of this process runs in that time, so it suits a child that does one thing. It needs
   * shared memory; the README of this package says in which processes it works.
   *
   * @throws {EOFError} if no message is left, and the other end is closed in every process
   * @throws {TimeoutError} if no message arrives within `timeout`
   * @throws {CapabilityError} where a blocked thread cannot receive, or if the message needs a module
   * that is not loaded; that message stays
   * @throws {ConnectionError} if this end is closed, or only sends
   */
  recvSync(options: Pick<WaitOptions, "timeout"> = NO_OPTIONS): Receives {
    return receiveBlocking(this.#endForReceiving("recvSync()"), options) as Receives;
  }

  /**
   * Receives the next message. It must have been sent by `sendBytes()`.
   *
   * @throws {BufferTooShortError} if it is longer than `maxLength`; the error holds the message
   * @throws {ConnectionError} if the next message was sent by `send()`; it stays, and `recv()` takes it
   * @throws {EOFError} if no message is left, and the other end is closed in every process
   */
  async recvBytes(options: RecvBytesOptions = NO_OPTIONS): Promise<Uint8Array> {
    const maxLength = checkRecvBytes(options);
    return limitLength(await this.#nextBytes("recvBytes()", options), maxLength);
  }

  /**
   * Receives the next message into a buffer. It must have been sent by `sendBytes()`.
   *
   * @param buffer a typed array, a `DataView` or an `ArrayBuffer`; the bytes of the message are written
   * to its memory as they are
   * @returns the number of bytes in the message
   * @throws {BufferTooShortError} if the message does not fit; the error holds the message
   * @throws {TypeError} if `buffer` is not a buffer; the message stays
   * @throws {EOFError} if no message is left, and the other end is closed in every process
   */
  async recvBytesInto(buffer: WritableBuffer, options: RecvBytesIntoOptions = NO_OPTIONS): Promise<number> {
    const offset = checkRecvBytesInto(buffer, options);
    return copyMessage(await this.#nextBytes("recvBytesInto()", options), buffer, offset);
  }

  /**
   * Returns whether `recv()` would return, or throw its `EOFError`, at once.
   *
   * @param options how long to wait for a message; 0 if `timeout` is left out, `Infinity` for no limit
   */
  async poll(options: WaitOptions = NO_OPTIONS): Promise<boolean> {
    beginWait("poll()", options);
    const { receiveQueue } = this.#endForReceiving("poll()");
    return receiveQueue.isReady || (await pollQueue(receiveQueue, { ...options, timeout: options.timeout ?? 0 }));
  }

  /**
   * Returns a stream of the bytes that are received from now on: one chunk per message, without empty
   * ones. The stream receives a message only when its reader requests a chunk. At the end of the pipe
   * the stream ends, and closes this connection. Cancelling the stream also closes the connection.
   */
  toReadableStream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    this.#endForReceiving("toReadableStream()");
    return toReadable(this);
  }

  /**
   * Returns a stream that sends each chunk as one message of bytes. Closing or aborting the stream
   * closes this connection, in both directions.
   */
  toWritableStream(): WritableStream<Uint8Array> {
    this.#endForSending("toWritableStream()");
    return toWritable(this);
  }

  /** Closes this end in this process. Messages that were sent still arrive. Other processes keep the end open. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#ownEnd?.receiveQueue.end();
    this.#ownEnd?.close();
  }

  /** Receives messages until the other end is closed in every process. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Receives, void, undefined> {
    return new MessageIterator(
      () => this.#takeReady("for await"),
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

  #toHandle(): SharedHandle {
    if (this.#closed)
      throw new ConnectionError(
        "A connection cannot be sent after close(): send it first, and close it then",
        "ERR_CONNECTION_CLOSED",
      );
    const { address, commit } = this.#end.prepareHandOver();
    const { socketPath, token } = address.endpoint;
    const data: HandleData = [socketPath, token, address.claim, this.readable, this.writable, this.#carriesValues];
    return { kind: "pipe.Connection", module: MODULE, data, commit };
  }

  /** Sends a value. Returns a promise only if the caller should wait before it sends more. */
  #sendNow(call: string, value: unknown, corked = false): Promise<void> | undefined {
    return this.#endForSending(call, true).send(value, corked) ? undefined : this.#waitForDrain();
  }

  async #waitForDrain(): Promise<void> {
    await this.#end.drained();
    const { brokenError } = this.#end;
    if (brokenError !== undefined && !this.#closed) throw brokenError;
  }

  #endForSending(call: string, needsValues = false): PipeEnd {
    if (this.#closed) throw closedError(call);
    if (needsValues && !this.#carriesValues) throw bytesOnlyError();
    if (!this.writable) throw directionError(call, "receiving");
    const end = this.#end;
    const { brokenError } = end;
    if (brokenError !== undefined) throw brokenError;
    end.markUsed();
    return end;
  }

  #endForReceiving(call: string): PipeEnd {
    if (this.#closed) throw closedError(call);
    if (!this.readable) throw directionError(call, "sending");
    const end = this.#end;
    end.markUsed();
    return end;
  }

  /** Takes the next message, if it has arrived and its modules are loaded. */
  #takeReady(call: string): Receives | typeof EMPTY {
    const end = this.#endForReceiving(call);
    const frame = end.receiveQueue.peek();
    if (frame === undefined || !areLoaded(frame.modules)) return EMPTY;
    end.receiveQueue.take();
    return decodeFrame(end, frame) as Receives;
  }

  async #recvLater(call: string, options: WaitOptions): Promise<Receives> {
    const end = this.#endForReceiving(call);
    const frame = await nextFrame(this, end, call, options);
    if (!areLoaded(frame.modules)) await loadModules(frame.modules);
    return decodeFrame(end, frame) as Receives;
  }

  async #nextBytes(call: string, options: WaitOptions): Promise<Uint8Array> {
    return messageBytes(await nextFrame(this, this.#endForReceiving(call), call, options, true));
  }
}

/** The module that a receiver loads before it can decode a connection. */
const MODULE: string = registerLibraryModule(import.meta.url, "@multiproc/pipe");

registerReviver("pipe.Connection", (data) => {
  const [, , , ...flags] = data as HandleData;
  return new Connection(remoteEndFor(data as HandleData), ...flags);
});
