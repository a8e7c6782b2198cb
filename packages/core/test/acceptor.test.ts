import { readdirSync } from "node:fs";
import net from "node:net";
import { ChannelClosedError, ProtocolError } from "@multiproc/core";
import {
  closeEndpoint,
  dial,
  exposeEndpoint,
  type Frame,
  SharedSegment,
  type SyncChannel,
  whyNoSharedMemory,
} from "@multiproc/core/internal";
import { noChildLeft, until } from "@multiproc/testing";
import { afterEach, describe, expect, test, vi } from "vitest";
import { FRAME_MAGIC } from "../src/channel/frame.ts";

afterEach(noChildLeft);

/**
 * Returns both ends of a channel of this process to itself, and what the far end received. With
 * `inMemory`, after its upgrade.
 */
async function pair(inMemory = false): Promise<{
  near: SyncChannel;
  far: SyncChannel;
  frames: Frame[];
  ends: Array<Error | undefined>;
}> {
  const frames: Frame[] = [];
  const ends: Array<Error | undefined> = [];
  let far: SyncChannel | undefined;
  const address = exposeEndpoint((channel) => {
    far = channel;
    channel.start({ message: (frame) => frames.push(frame), closed: (reason) => ends.push(reason) });
  });
  const near = await dial(address, "the test");
  near.start({ message: () => {}, closed: () => {} });
  await until(() => far);
  if (inMemory) {
    for (let i = 0; i < 300; i++) near.sendBytes(9, new Uint8Array(i));
    await until(() => frames.length === 300 && near.isInMemory && far?.isInMemory);
    frames.length = 0;
  }
  return { near, far: far as SyncChannel, frames, ends };
}

/**
 * Writes `bytes` to a socket. Returns how many bytes came back before the acceptor disconnected.
 */
function sendRawBytes(socketPath: string, bytes: Uint8Array): Promise<number> {
  return new Promise((resolve) => {
    let got = 0;
    const socket = net.connect(socketPath, () => socket.write(bytes));
    socket.on("data", (chunk) => (got += chunk.length));
    socket.on("error", () => {});
    socket.on("close", () => resolve(got));
  });
}

const TRANSPORTS = [
  ["over its socket", false] as const,
  ...(whyNoSharedMemory() === undefined ? [["in shared memory", true] as const] : []),
];

describe.each(TRANSPORTS)("a channel %s", (_, inMemory) => {
  test("it delivers values, bytes and large parts in order", async () => {
    const { near, far, frames } = await pair(inMemory);
    const large = new Uint8Array(1_000_000).fill(7);
    near.send(1, { a: [1, 2] });
    near.sendBytes(2, Uint8Array.from([1, 2]));
    near.send(3, large);
    near.sendBytes(4, large);
    near.send(5, "last");
    await until(() => frames.length === 5);
    expect(frames.map((frame) => frame.kind)).toEqual([1, 2, 3, 4, 5]);
    expect(far.decode(frames[0] as Frame)).toEqual({ a: [1, 2] });
    for (const bytes of [far.decode(frames[2] as Frame), (frames[3] as Frame).parts[0]] as Uint8Array[]) {
      expect(bytes.length).toBe(large.length);
      expect(bytes.every((byte) => byte === 7)).toBe(true);
    }
    expect(far.decode(frames[4] as Frame)).toBe("last");
    near.destroy();
  });

  test("end() delivers everything that was sent before", async () => {
    const { near, frames, ends } = await pair(inMemory);
    for (let i = 0; i < 1000; i++) near.send(1, [i, "x".repeat(1000)]);
    near.end();
    expect(() => near.send(1, 1)).toThrow(ChannelClosedError);
    await until(() => ends.length === 1);
    expect(frames.length).toBe(1000);
    expect(ends).toEqual([undefined]);
  });

  test("a failed write to a closed peer does not drop messages that have arrived", async () => {
    const { near, far, frames, ends } = await pair(inMemory);
    // Most messages are still unread when the write fails. Only the channel itself reads them then.
    far.pause();
    for (let i = 0; i < 140; i++) near.send(1, [i, "x".repeat(1000)]);
    await near.flushed();
    near.destroy();
    await until(() => {
      if (!far.closed) far.send(1, "ping");
      return ends.length === 1;
    });
    expect(frames.map((frame) => (far.decode(frame) as [number])[0])).toEqual(Array.from({ length: 140 }, (_, i) => i));
    expect(() => far.send(1, 1)).toThrow(ChannelClosedError);
  });

  test("a paused receiver exerts back-pressure on the sender", async () => {
    const { near, far, frames } = await pair(inMemory);
    far.pause();
    const body = new Uint8Array(10_000);
    for (let i = 0; i < 1000 && !near.full; i++) near.sendBytes(1, body);
    expect(near.full).toBe(true);
    let isDrained = false;
    const drained = near.drained().then(() => {
      isDrained = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(isDrained).toBe(false);
    far.resume();
    await drained;
    await near.flushed();
    await until(() => frames.length > 100);
    near.destroy();
  });
});

describe("a channel", () => {
  test("bytes that are not a message close it with a ProtocolError", async () => {
    let hello: Uint8Array | undefined;
    // A proxy records the handshake, which the test then replays before garbage.
    const ends: Array<Error | undefined> = [];
    const address = exposeEndpoint((channel) =>
      channel.start({ message: () => {}, closed: (reason) => ends.push(reason) }),
    );
    const server = net.createServer((socket) => socket.once("data", (chunk) => (hello = chunk)));
    await new Promise<void>((resolve) => server.listen(`${address.socketPath}.between`, resolve));
    const near = await dial({ ...address, socketPath: `${address.socketPath}.between` }, "the test");
    near.start({ message: () => {}, closed: () => {} });
    const greeting = (await until(() => hello)) as Uint8Array;
    await sendRawBytes(
      address.socketPath,
      Uint8Array.from([...greeting, ...new TextEncoder().encode("no message at all")]),
    );
    await until(() => ends.length === 1);
    expect(ends[0]).toBeInstanceOf(ProtocolError);
    near.destroy();
    server.close();
  });
});

describe.skipIf(whyNoSharedMemory() !== undefined)("a channel that is upgraded to shared memory", () => {
  test("it keeps the order of messages that both sides send during the upgrade", async () => {
    const { near, far, frames } = await pair();
    const back: Frame[] = [];
    near.start({ message: (frame) => back.push(frame), closed: () => {} });
    const large = new Uint8Array(100_000);
    for (let i = 0; i < 20_000; i++) {
      near.send(1, i);
      far.send(1, i);
      if (i % 1000 === 0) near.sendBytes(2, large);
      if (i % 100 === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    }
    await until(() => frames.length === 20_020 && back.length === 20_000);
    expect(near.isInMemory && far.isInMemory).toBe(true);
    const values = (of: Frame[]): unknown[] => of.filter(({ kind }) => kind === 1).map((frame) => near.decode(frame));
    expect(values(frames)).toEqual(Array.from({ length: 20_000 }, (_, i) => i));
    expect(values(back)).toEqual(Array.from({ length: 20_000 }, (_, i) => i));
    near.destroy();
  });

  test("either side may end it during the upgrade, and all messages sent before arrive", async () => {
    for (let count = 250; count < 270; count++) {
      for (const isNear of [true, false]) {
        const { near, far, frames, ends } = await pair();
        const back: Frame[] = [];
        let isOver = false;
        near.start({ message: (frame) => back.push(frame), closed: () => (isOver = true) });
        for (let i = 0; i < count; i++) (isNear ? near : far).send(1, i);
        (isNear ? near : far).end();
        await until(() => ends.length === 1 && isOver);
        expect(isNear ? frames.length : back.length).toBe(count);
      }
    }
  });

  test("it leaves no open descriptor behind", async () => {
    const openFdCount = (): number => readdirSync("/proc/self/fd").length;
    await (await pair(true)).near.destroy();
    await until(() => true);
    const before = openFdCount();
    for (let i = 0; i < 100; i++) (await pair(true)).near.destroy();
    await until(() => openFdCount() <= before);
  });

  test("it stays on its socket if a segment cannot be created here or attached by the peer", async () => {
    const create = vi.spyOn(SharedSegment, "create").mockImplementation(() => {
      throw new Error("none left");
    });
    const { near, frames } = await pair();
    for (let i = 0; i < 1000; i++) near.send(1, i);
    await until(() => frames.length === 1000);
    expect(near.isInMemory).toBe(false);
    create.mockRestore();
    near.destroy();

    const attach = vi.spyOn(SharedSegment, "attach").mockImplementation(() => {
      throw new Error("not here");
    });
    const other = await pair();
    for (let i = 0; i < 1000; i++) other.near.send(1, i);
    await until(() => other.frames.length === 1000);
    expect(other.near.isInMemory || other.far.isInMemory).toBe(false);
    attach.mockRestore();
    other.near.destroy();
  });

  test("corrupted memory closes it with a ProtocolError", async () => {
    const create = vi.spyOn(SharedSegment, "create");
    const { near, ends } = await pair(true);
    const memory = create.mock.results.at(-1)?.value as SharedSegment;
    create.mockRestore();
    new Int32Array(memory.buffer).fill(0x1234_5678, 16, 20); // the header of the ring to the other side
    near.sendBytes(1, new Uint8Array(1));
    await until(() => ends.length === 1);
    expect(ends[0]).toBeInstanceOf(ProtocolError);
    near.destroy();
  });
});

describe("an endpoint", () => {
  test("an address admits one client, or several with the option `multiple`", async () => {
    let count = 0;
    const accept = (channel: SyncChannel): void => {
      count += 1;
      channel.start({ message: () => {}, closed: () => {} });
    };
    const once = exposeEndpoint(accept);
    const many = exposeEndpoint(accept, { multiple: true });
    const dialled: SyncChannel[] = [];
    const dialTracked = async (address: typeof once): Promise<SyncChannel> => {
      const channel = await dial(address, "the test");
      channel.start({ message: () => {}, closed: () => {} });
      dialled.push(channel);
      return channel;
    };
    await dialTracked(once);
    await until(() => count === 1);
    const second = await dialTracked(once);
    await until(() => second.closed, { message: "the second client to be disconnected" });
    await Promise.all([dialTracked(many), dialTracked(many)]);
    await until(() => count === 3);
    closeEndpoint(many);
    const late = await dialTracked(many);
    await until(() => late.closed, { message: "the late client to be disconnected" });
    expect(count).toBe(3);
    for (const channel of dialled) channel.destroy();
  });

  test("a client without a valid token is disconnected and receives nothing", async () => {
    const address = exposeEndpoint(() => {
      throw new Error("no client must be accepted");
    });
    const frame = (body: number[], kind = 0): Uint8Array =>
      Uint8Array.from([body.length, 0, 0, 0, kind, FRAME_MAGIC, 0, 0, ...body]);
    const noises = [
      new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"),
      frame([0]),
      frame([255, 255, 255]),
      frame([1], 7),
      Uint8Array.from([0, 0, 0, 64, 0, FRAME_MAGIC, 0, 0]),
      new Uint8Array(100_000).fill(0xa4),
    ];
    for (const noise of noises) expect(await sendRawBytes(address.socketPath, noise)).toBe(0);
    closeEndpoint(address);
  });

  test("dial() rejects if the endpoint's process has exited", async () => {
    const address = { socketPath: "/tmp/there-is-no-such-socket", token: "x" };
    await expect(dial(address, "the queue's owner")).rejects.toThrow(ChannelClosedError);
    await expect(dial(address, "the queue's owner")).rejects.toThrow(
      "Cannot connect to the queue's owner: that process",
    );
  });
});
