// Runs under every start method.
import { fromModule } from "@multiproc/core";
import { BrokenPipeError, type Connection, connect, EOFError, Listener, pipe } from "@multiproc/pipe";
import { Process } from "@multiproc/process";
import { fixture, noChildLeft } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";

const tasks = fromModule<typeof import("./fixtures/deadly.js")>(fixture(import.meta.url, "deadly.js"));
const MESSAGE_BYTES = 100 * 1024 * 1024;

async function start(target: (...args: never[]) => unknown, ...args: unknown[]): Promise<Process> {
  const child = new Process({ target: target as never, args: args as never });
  await child.start();
  return child;
}

/** Returns the code of the error that ends a connection, after all whole messages. */
async function endCode(connection: Connection<unknown>): Promise<string> {
  try {
    while (true) await connection.recv();
  } catch (error) {
    return (error as { code: string }).code;
  }
}

afterEach(noChildLeft);

/** Receives until the child sends "now". */
async function receiveUntilNow(connection: Connection<unknown>): Promise<void> {
  while ((await connection.recv()) !== "now");
}

describe.each([
  ["on a socket", 0, 0],
  ["in memory", 1000, 0],
  ["in memory with a large-message area", 1000, 20],
] as const)("in the middle of a message of 100 MiB %s", { timeout: 60_000 }, (_, smallCount, largeCount) => {
  test("SIGKILL of the sender: the receiver gets EOFError", async () => {
    const [here, there] = pipe<unknown>();
    const child = await start(tasks.sendLarge, there, MESSAGE_BYTES, smallCount, largeCount);
    await receiveUntilNow(here);
    child.kill();
    expect(await endCode(here)).toBe("ERR_EOF");
    await expect(here.send(1)).rejects.toThrow(BrokenPipeError);
    await child.join();
  });

  test("SIGKILL of the sender that owns the pipe: the receiver gets EOFError", async () => {
    const [here, there] = pipe<Connection<unknown>>();
    const child = await start(tasks.sendLargeThroughOwn, there, MESSAGE_BYTES, smallCount, largeCount);
    const own = await here.recv();
    await receiveUntilNow(own);
    child.kill();
    expect(await endCode(own)).toBe("ERR_EOF");
    own.close();
    await child.join();
  });

  test("SIGKILL of the receiver: the sender gets BrokenPipeError", async () => {
    const [here, there] = pipe<unknown>();
    const child = await start(tasks.block, there, smallCount, largeCount);
    await receiveUntilNow(here);
    for (let i = 0; i < largeCount; i++) await here.send(new Uint8Array(1_000_000));
    await here.send("go");
    const sending = here.sendBytes(new Uint8Array(MESSAGE_BYTES));
    const waiting = here.recv();
    child.kill();
    await expect(sending).rejects.toThrow(BrokenPipeError);
    await expect(waiting).rejects.toThrow(EOFError);
    await child.join();
  });
});

describe("in the middle of a message of 100 MiB", { timeout: 60_000 }, () => {
  test("SIGKILL of a client: the listener's process gets EOFError or BrokenPipeError", async () => {
    for (const authKey of [Uint8Array.of(1, 2, 3), undefined]) {
      const listener = new Listener({ authKey });
      const child = await start(tasks.connectAndSendLarge, listener.address, authKey, MESSAGE_BYTES);
      const connection = await listener.accept();
      expect(await connection.recvBytes()).toEqual(Uint8Array.of(1));
      child.kill();
      expect(await endCode(connection)).toBe("ERR_EOF");
      await child.join();
      const second = await start(tasks.connectAndBlock, listener.address, authKey);
      const other = await listener.accept();
      expect(await other.recvBytes()).toEqual(Uint8Array.of(1));
      await other.sendBytes(Uint8Array.of(2));
      const sending = other.sendBytes(new Uint8Array(MESSAGE_BYTES));
      second.kill();
      await expect(sending).rejects.toThrow(BrokenPipeError);
      await second.join();
      listener.close();
    }
  });

  test("SIGKILL of a listener's process: the client gets EOFError", async () => {
    const [here, there] = pipe<string>();
    const child = await start(tasks.listenAndSendLarge, there, MESSAGE_BYTES);
    const connection = await connect(await here.recv());
    expect(await connection.recvBytes()).toEqual(Uint8Array.of(1));
    child.kill();
    expect(await endCode(connection)).toBe("ERR_EOF");
    connection.close();
    await child.join();
  });
});
