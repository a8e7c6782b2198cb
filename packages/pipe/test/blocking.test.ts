// Runs under every start method.
import { CapabilityError, fromModule } from "@multiproc/core";
import { host, whyNoDialSync } from "@multiproc/core/internal";
import { type Connection, pipe } from "@multiproc/pipe";
import { Process } from "@multiproc/process";
import { childrenOf, fixture } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";

const tasks = fromModule<typeof import("./fixtures/blocks.js")>(fixture(import.meta.url, "blocks.js"));
const { strange } = fromModule<typeof import("./fixtures/strange.js")>(fixture(import.meta.url, "strange.js"));
const { start, endChildren } = childrenOf((target, args) => new Process({ target, args }));

afterEach(endChildren);

const reason = whyNoDialSync();

describe.skipIf(reason !== undefined)("recvSync() and sendSync()", () => {
  test("recvSync() and sendSync() work in a child from its first line on", async () => {
    const [here, there] = pipe<unknown>();
    const child = await start(tasks.double, there);
    for (let i = 0; i < 2000; i++) {
      await here.send(i);
      expect(await here.recv()).toBe(2 * i);
    }
    for (let i = 0; i < 2000; i++) void here.send(i);
    for (let i = 0; i < 2000; i++) expect(await here.recv()).toBe(2 * i);
    await here.send(null);
    expect(await child.join()).toBe(0);
  });

  test("recvSync() finds messages that were sent before the child started", async () => {
    const [here, there] = pipe<unknown>();
    for (let i = 0; i < 100; i++) await here.send(i);
    await here.send(null);
    const child = await start(tasks.double, there);
    for (let i = 0; i < 100; i++) expect(await here.recv()).toBe(2 * i);
    expect(await child.join()).toBe(0);
  });

  test("recvSync() and sendSync() carry messages of any size, in both directions", async () => {
    const [here, there] = pipe<unknown>();
    const child = await start(tasks.echo, there, 4);
    for (const size of [0, 100_000, 1_000_000, 40_000_000]) {
      const bytes = new Uint8Array(size).fill(7);
      void here.send([bytes, "x".repeat(size / 100)]);
      const [back, text] = (await here.recv()) as [Uint8Array, string];
      expect([back.length, back.every((byte) => byte === 7), text.length]).toEqual([size, true, size / 100]);
    }
    expect(await child.join()).toBe(0);
  });

  test("blocking and awaited calls can be mixed on one connection", async () => {
    const [here, there] = pipe<unknown>();
    const child = await start(tasks.mix, there);
    expect(await here.recv()).toBe("first");
    await here.send(1);
    await here.send(2);
    expect(await here.recv()).toEqual([1, 2]);
    await here.send(3);
    await here.send(4);
    expect(await here.recv()).toEqual([1, 2, 3, 4]);
    expect(await child.join()).toBe(0);
  });

  test("a blocking call wakes up for rare messages too, for which spinning does not pay off", async () => {
    const [here, there] = pipe<unknown>();
    const child = await start(tasks.alternate, there, 20);
    for (let i = 0; i < 40; i++) {
      await new Promise((resolve) => setTimeout(resolve, 5)); // rare messages are the point of this test
      await here.send(i);
      expect(await here.recv({ timeout: 10_000 })).toBe(i);
    }
    expect(await child.join()).toBe(0);
  });

  test("recvSync() works after await on Node, and throws CapabilityError on Deno", async () => {
    const [here, there] = pipe<unknown>();
    const child = await start(tasks.blockLater, there);
    expect(await here.recv()).toBe("up");
    await here.send("go on");
    if (host.name === "deno") {
      await child.join();
      expect(child.exitCode).not.toBe(0);
    } else {
      await here.send("here it is");
      expect(await here.recv()).toEqual(["ok", "here it is"]);
      expect(await child.join()).toBe(0);
    }
  });

  test("recvSync() works in the owner process while its peer is busy on the pipe", async () => {
    const [here, there] = pipe<unknown>();
    expect(() => here.recvSync()).toThrow(CapabilityError);
    await there.send("is there");
    expect(here.recvSync()).toBe("is there");
    const child = await start(tasks.double, there);
    await here.send(0);
    expect(await here.recv()).toBe(0);
    if (host.name === "node") {
      for (let i = 0; i < 10_000; i++) {
        here.sendSync(i);
        expect(here.recvSync()).toBe(2 * i);
      }
    } else expect(() => here.recvSync()).toThrow(CapabilityError);
    await here.send(null);
    expect(await child.join()).toBe(0);
  });

  test("recvSync() works in a grandchild that got the end from a child", async () => {
    const [here, there] = pipe<unknown>();
    const child = await start(tasks.passOn, there);
    for (let i = 0; i < 100; i++) {
      await here.send(i);
      expect(await here.recv()).toBe(2 * i);
    }
    await here.send(null);
    expect(await child.join()).toBe(0);
  });

  test("recvSync() and sendSync() throw for timeouts and wrong arguments", async () => {
    const [here, there] = pipe<unknown>();
    await start(tasks.tryAll, there);
    expect(await here.recv()).toEqual([
      ["TimeoutError", expect.stringContaining("recvSync()")],
      ["TimeoutError", expect.stringContaining("recvSync()")],
      ["RangeError", "recvSync() takes a timeout of 0 or more milliseconds, not -1"],
      ["SendError", expect.stringContaining("value")],
    ]);
  });

  test("recvSync() leaves a message that needs a module which is not loaded", async () => {
    const [here, there] = pipe<unknown>();
    const [results, report] = pipe<unknown>();
    await here.send(strange);
    await start(tasks.receiveUnknownModule, there, report);
    expect(await results.recv()).toEqual(["CapabilityError", expect.stringContaining("strange.js")]);
    expect(await results.recv()).toEqual(["ok", "function"]);
  });

  test("blocking calls end when the other end is closed, or the owner process is killed", async () => {
    const [results, report] = pipe<unknown>();
    const [here, there] = pipe<unknown>();
    await start(tasks.block, there, report);
    expect(await results.recv()).toBe("blocks");
    here.close();
    expect(await results.recv()).toEqual([
      "EOFError",
      expect.stringContaining("the other end is closed in every process"),
    ]);

    for (const blocksForever of [false, true]) {
      for (const target of [tasks.block, tasks.blockSending]) {
        const [to, from] = pipe<Connection<unknown>>();
        const owner = await start(tasks.keepEnd, from, blocksForever);
        const ownersEnd = await to.recv();
        await start(target, ownersEnd, report);
        expect(await results.recv()).toBe("blocks");
        await to.send("go on" as never);
        owner.kill();
        const name = target === tasks.block ? "EOFError" : "BrokenPipeError";
        expect(await results.recv()).toEqual([name, expect.any(String)]);
        to.close();
      }
    }
  });

  test.skipIf(host.name === "deno")("blocking calls end at once if the owner process was killed before", async () => {
    const [results, report] = pipe<unknown>();
    const [to, from] = pipe<Connection<unknown>>();
    await start(tasks.sendPid, from);
    await start(tasks.blockAfterEnd, await to.recv(), report);
    expect(await results.recv()).toEqual([
      ["EOFError", expect.any(String)],
      ["BrokenPipeError", expect.any(String)],
    ]);
    to.close();
  });

  test("a blocking call ends when another child that held the other end is killed", async () => {
    const [results, report] = pipe<unknown>();
    const [one, other] = pipe<unknown>();
    const [idle, unused] = pipe<unknown>();
    const victim = await start(tasks.block, one, report);
    expect(await results.recv()).toBe("blocks");
    await start(tasks.block, other, report);
    expect(await results.recv()).toBe("blocks");
    victim.kill();
    expect(await results.recv()).toEqual(["EOFError", expect.any(String)]);
    idle.close();
    unused.close();
  });
});

test.runIf(reason !== undefined)(
  "recvSync() and sendSync() throw CapabilityError with the reason where they cannot work, and lose nothing",
  async () => {
    const [here, there] = pipe<unknown>();
    const [results, report] = pipe<unknown>();
    for (const target of [tasks.block, tasks.blockSending]) {
      const child = await start(target, there, report);
      expect(await results.recv()).toBe("blocks");
      expect(await results.recv()).toEqual(["CapabilityError", expect.stringContaining(reason as string)]);
      expect(await child.join()).toBe(0);
    }
    here.close();
  },
);
