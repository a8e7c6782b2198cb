import {
  type ByteStream,
  type Channel,
  checkWaitOptions,
  connectWithRetry,
  type WaitOptions,
  withTimeoutOrThrow,
} from "@multiproc/core/internal";
import { Connection } from "./connection.ts";
import { endForChannel } from "./ends/local-end.ts";
import { AuthenticationError, ConnectionError } from "./errors.ts";
import { type Address, checkAddress, formatAddress } from "./wire/address.ts";
import { answerChallenge, checkKey, deliverChallenge, isChallenge } from "./wire/auth.ts";
import { HandshakeStream } from "./wire/handshake-stream.ts";
import { authenticatedChannel, WireChannel } from "./wire/wire-channel.ts";

/**
 * Options of {@link connect}.
 *
 * @example With a key, for at most a second
 * ```ts
 * import { type ConnectOptions, connect, Listener } from "@multiproc/pipe";
 *
 * const authKey = new TextEncoder().encode("a secret that both sides know");
 * const listener = new Listener({ authKey });
 * const options: ConnectOptions = { authKey, timeout: 1000 };
 * const [there, here] = await Promise.all([listener.accept<string>(), connect<string>(listener.address, options)]);
 * await here.send("hello");
 * console.log(await there.recv()); // hello
 * here.close();
 * listener.close();
 * ```
 */
export interface ConnectOptions extends WaitOptions {
  /** The key of the listener. Each side proves that it has the key, and neither sends it. @default no authentication */
  readonly authKey?: Uint8Array | undefined;
}

/**
 * Connects to a `Listener` of this library or of Python's `multiprocessing.connection`.
 *
 * With a listener of this library and an `authKey`, the connection carries values, like a pipe. With
 * a Python process, or without a key, it carries bytes only. `sendBytes()` and `recvBytes()` are
 * Python's `send_bytes()` and `recv_bytes()`, and `recv()` returns the bytes of any message.
 *
 * A value can make its receiver load a module. Give the key only to processes that may run code here.
 *
 * @typeParam Receives the type of the messages that are received
 * @typeParam Sends the type of the values that are sent; the same type if it is left out
 * @param address the path of a Unix socket, or `{ host, port }`
 * @param options the `authKey`, and how long to wait. Set a `timeout`: if only one of the two sides
 * has a key, both may wait forever
 * @throws {ConnectionError} if no listener has this address
 * @throws {AuthenticationError} if the listener has another key
 * @throws {TimeoutError} if the connection is not made within `timeout`
 *
 * @example Two sides in one program
 * ```ts
 * import { connect, Listener } from "@multiproc/pipe";
 *
 * const authKey = crypto.getRandomValues(new Uint8Array(32));
 * await using listener = new Listener({ authKey });
 * const [there, here] = await Promise.all([
 *   listener.accept<string>(),
 *   connect<string>(listener.address, { authKey }),
 * ]);
 * await here.send("hello");
 * console.log(await there.recv()); // "hello"
 * here.close();
 * there.close();
 * ```
 */
export async function connect<Receives = unknown, Sends = Receives>(
  address: Address,
  options: ConnectOptions = {},
): Promise<Connection<Receives, Sends>> {
  checkWaitOptions("connect()", options, ["authKey", "timeout", "signal"]);
  const listenerAddress = checkAddress("connect()", address);
  if (typeof listenerAddress !== "string" && listenerAddress.port === 0)
    throw new TypeError("connect() takes a port of 1 or more: only a listener can use 0, for any free port");
  const key = checkKey("connect()", options.authKey);
  options.signal?.throwIfAborted();
  const abort = new AbortController();
  const pendingChannel = openChannel(listenerAddress, key, abort.signal);
  try {
    const { channel, carriesValues } = await withTimeoutOrThrow(pendingChannel, "connect()", options);
    return new Connection(endForChannel(channel), true, true, carriesValues);
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
    return { channel: authenticatedChannel(handshake.release(), isMultiproc, peer), carriesValues: isMultiproc };
  } catch (cause) {
    handshake.finish();
    throw new AuthenticationError(`connect() failed at the handshake with ${peer}: ${(cause as Error).message}`, {
      cause,
    });
  }
}

async function openStream(address: Address, signal: AbortSignal): Promise<ByteStream> {
  try {
    return await connectWithRetry(address, { signal });
  } catch (cause) {
    throw new ConnectionError(
      `connect() could not reach ${formatAddress(address)}: start a listener there, or allow this process to connect (${(cause as Error).message})`,
      "ERR_CONNECT",
      { cause },
    );
  }
}

function refuseChallenge(message: Uint8Array): void {
  if (isChallenge(message))
    throw new AuthenticationError(
      "The listener asks for a key: give connect() the authKey that the listener has, or remove it there",
    );
}
