import {
  type ByteStream,
  type Channel,
  connectWithRetry,
  StreamChannel,
  type WaitOptions,
  withTimeoutOrThrow,
} from "@multiproc/core/internal";
import { Connection } from "./connection.ts";
import { endForChannel } from "./ends/local-end.ts";
import { AuthenticationError, ConnectionError } from "./errors.ts";
import { type Address, checkAddress, formatAddress } from "./wire/address.ts";
import { answerChallenge, deliverChallenge, isChallenge } from "./wire/auth.ts";
import { checkKey } from "./wire/auth-key.ts";
import { HandshakeStream } from "./wire/handshake-stream.ts";
import { WireChannel } from "./wire/wire-channel.ts";

/**
 * How {@link connect} goes about it.
 *
 * @example With a key, and no longer than a second
 * ```ts
 * import { type ConnectOptions, connect, Listener } from "@multiproc/pipe";
 *
 * const authKey = new TextEncoder().encode("a secret that both know");
 * const listener = new Listener({ authKey });
 * const options: ConnectOptions = { authKey, timeout: 1000 };
 * const [there, here] = await Promise.all([listener.accept<string>(), connect(listener.address, options)]);
 * await here.send("hello");
 * console.log(await there.recv()); // hello
 * here.close();
 * listener.close();
 * ```
 */
export interface ConnectOptions extends WaitOptions {
  /** The key that the listener has; both sides prove that they have it, and neither tells it. @default none is asked for */
  readonly authKey?: Uint8Array | undefined;
}

/**
 * Connects to a `Listener`, of this library or of Python's `multiprocessing.connection`.
 *
 * With a listener of this library and an `authKey`, the connection carries values, as a pipe does. With a Python process, or
 * without a key, it carries bytes: `sendBytes()` and `recvBytes()` are Python's `send_bytes()` and `recv_bytes()`, and `recv()`
 * gives the bytes of whatever Python sent. A value can make its receiver load a module: give the key to nobody who may not run
 * code in this process.
 *
 * @typeParam T what is received
 * @param address the path of a Unix socket, or `{ host, port }`
 * @param options the `authKey`, and how long to wait: a listener that has a key although none was given, or none although one
 * was, may leave the wait without an end
 * @throws {ConnectionError} if nobody listens there
 * @throws {AuthenticationError} if the listener has another key
 * @throws {TimeoutError} when the time ran out
 *
 * @example Two sides in one program
 * ```ts
 * import { connect, Listener } from "@multiproc/pipe";
 *
 * const authKey = crypto.getRandomValues(new Uint8Array(32));
 * await using listener = new Listener({ authKey });
 * const [there, here] = await Promise.all([listener.accept<string>(), connect(listener.address, { authKey })]);
 * await here.send("hello");
 * console.log(await there.recv()); // "hello"
 * here.close();
 * there.close();
 * ```
 */
export async function connect<T = unknown>(address: Address, options: ConnectOptions = {}): Promise<Connection<T>> {
  const to = checkAddress("connect()", address);
  if (typeof to !== "string" && to.port === 0)
    throw new TypeError("connect() takes a port from 1 on: 0 stands for a free one, for a listener alone");
  const key = checkKey("connect()", options.authKey);
  options.signal?.throwIfAborted();
  const abort = new AbortController();
  const pendingChannel = openChannel(to, key, abort.signal);
  try {
    const { channel, carriesValues } = await withTimeoutOrThrow(pendingChannel, "connect()", options);
    return new Connection<T>(endForChannel(channel), true, true, carriesValues);
  } catch (error) {
    abort.abort(error);
    pendingChannel.then(({ channel }) => channel.destroy()).catch(() => {});
    throw error;
  }
}

async function openChannel(
  address: Address,
  key: Uint8Array | undefined,
  signal: AbortSignal,
): Promise<{ channel: Channel; carriesValues: boolean }> {
  const peer = `the listener at ${formatAddress(address)}`;
  const stream = await openStream(address, signal);
  if (key === undefined) return { channel: new WireChannel(stream, peer, refuseChallenge), carriesValues: false };
  const handshake = new HandshakeStream(stream);
  handshake.ref();
  signal.addEventListener("abort", () => handshake.destroy(), { once: true });
  try {
    const isMultiproc = await answerChallenge(handshake, key);
    await deliverChallenge(handshake, key);
    const channelStream = handshake.release();
    return {
      channel: isMultiproc ? new StreamChannel(channelStream, { peer }) : new WireChannel(channelStream, peer),
      carriesValues: isMultiproc,
    };
  } catch (cause) {
    handshake.finish();
    throw new AuthenticationError(`connect() and ${peer} did not agree: ${(cause as Error).message}`, { cause });
  }
}

async function openStream(address: Address, signal: AbortSignal): Promise<ByteStream> {
  try {
    return await connectWithRetry(address, { signal });
  } catch (cause) {
    throw new ConnectionError(
      `connect() could not reach ${formatAddress(address)}: nobody listens there, or this process may not connect to it (${(cause as Error).message})`,
      "ERR_CONNECT",
      { cause },
    );
  }
}

function refuseChallenge(message: Uint8Array): void {
  if (isChallenge(message))
    throw new AuthenticationError("The listener asks for a key: give connect() the same authKey as the listener");
}
