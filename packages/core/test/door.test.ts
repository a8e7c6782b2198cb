import net from "node:net";
import { ChannelClosedError, ProtocolError } from "@multiproc/core";
import { type Channel, dial, type Frame, invite, revoke } from "@multiproc/core/internal";
import { noChildLeft, until } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";
import { MARK } from "../src/channel/frame-reader.ts";

afterEach(noChildLeft);

/** A channel of this process with itself, and what each side saw. */
async function pair(): Promise<{ near: Channel; far: Channel; frames: Frame[]; ends: Array<Error | undefined> }> {
  const frames: Frame[] = [];
  const ends: Array<Error | undefined> = [];
  let far: Channel | undefined;
  const invitation = invite((channel) => {
    far = channel;
    channel.start({ message: (frame) => frames.push(frame), closed: (reason) => ends.push(reason) });
  });
  const near = await dial(invitation, "the test");
  near.start({ message: () => {}, closed: () => {} });
  await until(() => far);
  return { near, far: far as Channel, frames, ends };
}

/** What a stranger who writes `bytes` to a door gets back, until it is cut off. */
function strange(address: string, bytes: Uint8Array): Promise<number> {
  return new Promise((resolve) => {
    let got = 0;
    const socket = net.connect(address, () => socket.write(bytes));
    socket.on("data", (chunk) => (got += chunk.length));
    socket.on("error", () => {});
    socket.on("close", () => resolve(got));
  });
}

describe("a channel", () => {
  test("carries values, bytes and large parts in order", async () => {
    const { near, far, frames } = await pair();
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

  test("end() lets everything through that was sent", async () => {
    const { near, frames, ends } = await pair();
    for (let i = 0; i < 1000; i++) near.send(1, [i, "x".repeat(1000)]);
    near.end();
    expect(() => near.send(1, 1)).toThrow(ChannelClosedError);
    await until(() => ends.length === 1);
    expect(frames.length).toBe(1000);
    expect(ends).toEqual([undefined]);
  });

  test("delivers all that had arrived when a write to the other side, which is gone, fails", async () => {
    const { near, far, frames, ends } = await pair();
    // Most of it has not been read when the write fails; nobody asks for it but the channel itself.
    far.pause();
    for (let i = 0; i < 140; i++) near.send(1, [i, "x".repeat(1000)]);
    await near.flushed();
    near.destroy();
    await until(() => {
      if (!far.closed) far.send(1, "is anybody there?");
      return ends.length === 1;
    });
    expect(frames.map((frame) => (far.decode(frame) as [number])[0])).toEqual(Array.from({ length: 140 }, (_, i) => i));
    expect(() => far.send(1, 1)).toThrow(ChannelClosedError);
  });

  test("tells the sender to wait while the receiver is paused", async () => {
    const { near, far, frames } = await pair();
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

  test("garbage closes it with a reason that says so", async () => {
    let hello: Uint8Array | undefined;
    // A go-between that lets the greeting through, and then speaks for itself.
    const ends: Array<Error | undefined> = [];
    const invitation = invite((channel) => channel.start({ message: () => {}, closed: (reason) => ends.push(reason) }));
    const server = net.createServer((socket) => socket.once("data", (chunk) => (hello = chunk)));
    await new Promise<void>((resolve) => server.listen(`${invitation.address}.between`, resolve));
    const near = await dial({ ...invitation, address: `${invitation.address}.between` }, "the test");
    near.start({ message: () => {}, closed: () => {} });
    const greeting = (await until(() => hello)) as Uint8Array;
    await strange(invitation.address, Uint8Array.from([...greeting, ...new TextEncoder().encode("no message at all")]));
    await until(() => ends.length === 1);
    expect(ends[0]).toBeInstanceOf(ProtocolError);
    near.destroy();
    server.close();
  });
});

describe("the door", () => {
  test("an invitation is good once, unless it is for many", async () => {
    let count = 0;
    const accept = (channel: Channel): void => {
      count += 1;
      channel.start({ message: () => {}, closed: () => {} });
    };
    const once = invite(accept);
    const many = invite(accept, { many: true });
    const dialled: Channel[] = [];
    const knock = async (invitation: typeof once): Promise<Channel> => {
      const channel = await dial(invitation, "the test");
      channel.start({ message: () => {}, closed: () => {} });
      dialled.push(channel);
      return channel;
    };
    await knock(once);
    await until(() => count === 1);
    const second = await knock(once);
    await until(() => second.closed, { message: "the second guest to be cut off" });
    await Promise.all([knock(many), knock(many)]);
    await until(() => count === 3);
    revoke(many);
    const late = await knock(many);
    await until(() => late.closed, { message: "the late guest to be cut off" });
    expect(count).toBe(3);
    for (const channel of dialled) channel.destroy();
  });

  test("strangers are cut off and learn nothing", async () => {
    const invitation = invite(() => {
      throw new Error("nobody is to come in");
    });
    const frame = (body: number[], kind = 0): Uint8Array =>
      Uint8Array.from([body.length, 0, 0, 0, kind, MARK, 0, 0, ...body]);
    const noises = [
      new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"),
      frame([0]),
      frame([255, 255, 255]),
      frame([1], 7),
      Uint8Array.from([0, 0, 0, 64, 0, MARK, 0, 0]),
      new Uint8Array(100_000).fill(0xa4),
    ];
    for (const noise of noises) expect(await strange(invitation.address, noise)).toBe(0);
    revoke(invitation);
  });

  test("a door that is gone says so", async () => {
    await expect(dial({ address: "/tmp/there-is-no-such-door", token: "x" }, "the queue's home")).rejects.toThrow(
      "the queue's home cannot be reached",
    );
  });
});
