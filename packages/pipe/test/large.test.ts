import process from "node:process";
import { fromModule } from "@multiproc/core";
import { pipe } from "@multiproc/pipe";
import { Process } from "@multiproc/process";
import { fixture, noChildLeft } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";
import { lengthOf } from "./fixtures/tasks.js";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));

async function start(target: (...args: never[]) => unknown, ...args: unknown[]): Promise<Process> {
  const child = new Process({ target: target as never, args: args as never });
  await child.start();
  return child;
}

/** Returns bytes whose pages all differ, so that a lost, repeated or misplaced piece is found. */
function patterned(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i += 4096) new DataView(bytes.buffer).setUint32(i, i);
  return bytes;
}

function isPatterned(bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let i = 0; i + 4 <= bytes.length; i += 4096) if (view.getUint32(i) !== i) return false;
  return true;
}

afterEach(noChildLeft);

describe("large messages", { timeout: 120_000 }, () => {
  test("a message of 32 MiB is sent to a child and back, as a value and as bytes", async () => {
    const bytes = patterned(32 * 1024 * 1024);
    const [here, there] = pipe<Uint8Array>();
    const child = await start(tasks.echo, there);
    await here.send(bytes);
    const back = await here.recv();
    expect([back.length, isPatterned(back)]).toEqual([bytes.length, true]);
    here.close();
    await child.join();
    const [mine, yours] = pipe();
    const second = await start(tasks.echoBytes, yours);
    await mine.sendBytes(bytes);
    const returned = await mine.recvBytes();
    expect([returned.length, isPatterned(returned)]).toEqual([bytes.length, true]);
    mine.close();
    await second.join();
  });

  test("messages of all lengths arrive whole from a sender that is faster than the receiver", async () => {
    const [here, there] = pipe<unknown>();
    const child = await start(tasks.allLengths, there, 40_000);
    for (let i = 0; i < 40_000; i++) {
      const bytes = await here.recvBytes();
      const { length } = bytes;
      const found = [length, bytes[0], bytes[length >> 1], bytes[length - 1]];
      if (found.some((value, at) => value !== (at === 0 ? lengthOf(i) : i % 256)))
        expect([i, ...found]).toEqual([i, lengthOf(i), i % 256, i % 256, i % 256]);
    }
    await child.join();
  });

  test("large and small messages in turns keep their order", async () => {
    const lengths = [3_000_000, 100, 700_000, 700_000, 9_000_000, 0, 1, 600_000, 20_000_000, 300];
    const bytes = patterned(Math.max(...lengths));
    const [here, there] = pipe();
    const child = await start(tasks.echoBytes, there);
    const isRight = async (length: number): Promise<boolean> => {
      const back = await here.recvBytes();
      return back.length === length && isPatterned(back);
    };
    const all = Array.from({ length: 100 }, (_, i) => lengths[(i * 7) % lengths.length] as number);
    const sending = (async () => {
      for (const length of all) await here.sendBytes(bytes.subarray(0, length));
    })();
    for (const length of all) expect([length, await isRight(length)]).toEqual([length, true]);
    await sending;
    // One at a time, so that the channel is empty before each message.
    for (const length of all.slice(0, 30)) {
      await here.sendBytes(bytes.subarray(0, length));
      expect([length, await isRight(length)]).toEqual([length, true]);
    }
    here.close();
    await child.join();
  });

  test("memory that was sent can be reused as soon as send() has settled", async () => {
    const [here, there] = pipe<unknown>();
    const child = await start(tasks.receiveLate, there);
    const bytes = new Uint8Array(900_000).fill(1);
    await here.send("wait");
    await here.send(bytes);
    bytes.fill(2);
    await here.sendBytes(bytes);
    bytes.fill(3);
    expect(await here.recv()).toEqual([1, 2]);
    await child.join();
  });

  test.skipIf(process.env.MULTIPROC_TEST_HUGE === undefined)("a message of 2 GiB arrives whole", async () => {
    const [here, there] = pipe<unknown>();
    const child = await start(tasks.measure, there);
    const bytes = new Uint8Array(2 ** 31 - 100);
    bytes[0] = 1;
    bytes[bytes.length - 1] = 2;
    await here.send(bytes);
    expect(await here.recv()).toEqual([bytes.length, 1, 2]);
    await child.join();
  });
});
