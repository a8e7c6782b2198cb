import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { dirname } from "node:path";
import { fromModule, SendError, TimeoutError } from "@multiproc/core";
import { host as port } from "@multiproc/core/internal";
import {
  type Address,
  AuthenticationError,
  type Connection,
  ConnectionError,
  connect,
  EOFError,
  Listener,
  pipe,
} from "@multiproc/pipe";
import { Process } from "@multiproc/process";
import { fixture, type Host, noChildLeft, runProgram, until } from "@multiproc/testing";
import { afterAll, afterEach, describe, expect, test } from "vitest";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const folder = mkdtempSync(`${tmpdir()}/multiproc-test-`);
let count = 0;
const newSocketPath = (): string => `${folder}/${++count}`;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const authKey = bytes("secret");
const toClose: Array<{ close(): void }> = [];
const closeAfterTest = <T extends { close(): void }>(thing: T): T => {
  toClose.push(thing);
  return thing;
};

/** Returns both ends of one connection. */
async function pair(options: { authKey?: Uint8Array; family?: "unix" | "inet" }): Promise<[Connection, Connection]> {
  const listener = await new Listener(options).ready;
  const [there, here] = await Promise.all([listener.accept(), connect(listener.address, { authKey: options.authKey })]);
  listener.close();
  return [closeAfterTest(here), closeAfterTest(there)];
}

afterEach(async () => {
  for (const each of toClose.splice(0)) each.close();
  await noChildLeft();
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("Listener and connect()", () => {
  for (const family of ["unix", "inet"] as const) {
    test(`a connection with a key carries values and bytes in both directions: ${family}`, async () => {
      const [a, b] = await pair({ authKey, family });
      const value = { list: [1, "two", new Map([[3, new Set([4n])]])], large: new Uint8Array(100_000).fill(5) };
      await a.send(value);
      expect(await b.recv()).toEqual(value);
      await b.sendBytes(bytes("hello"));
      expect(await a.recvBytes()).toEqual(bytes("hello"));
      for (let i = 0; i < 1000; i++) await b.send(i);
      for (let i = 0; i < 1000; i++) expect(await a.recv()).toBe(i);
      await b.send("last");
      b.close();
      expect(await a.recv()).toBe("last");
      await expect(a.recv()).rejects.toThrow(EOFError);
      await until(() =>
        a.send(1).then(
          () => false,
          (error) => error.code === "ERR_BROKEN_PIPE",
        ),
      );
    });

    test(`a connection without a key carries bytes only: ${family}`, async () => {
      const [a, b] = await pair({ family });
      await expect(a.send(1)).rejects.toThrow("carries bytes only");
      for (const size of [0, 1, 16_383, 16_384, 1_000_000]) {
        await a.sendBytes(new Uint8Array(size).fill(size));
        const back = await b.recvBytes();
        expect(back.length).toBe(size);
        expect(back.every((byte) => byte === (size & 255))).toBe(true);
      }
      a.close();
      await expect(b.recv()).rejects.toThrow(EOFError);
    });
  }

  test("only the user can enter the folder of a socket, and close() removes the socket", async () => {
    const listener = new Listener();
    const address = listener.address as string;
    expect(statSync(address).mode & 0o777).toBe(0o600);
    expect(statSync(dirname(address)).mode & 0o777).toBe(0o700);
    listener.close();
    listener.close();
    expect(listener.closed).toBe(true);
    await until(() => !existsSync(address));
    const named = new Listener({ address: newSocketPath() });
    await named.ready;
    expect(named.address).toBe(`${folder}/${count}`);
    expect(statSync(named.address as string).mode & 0o777).toBe(0o600);
    await named[Symbol.asyncDispose]();
    await until(() => !existsSync(named.address as string));
  });

  test("a port is on the loopback interface, and known when the listener is ready", async () => {
    const listener = closeAfterTest(new Listener({ family: "inet" }));
    await listener.ready;
    const address = listener.address as Exclude<Address, string>;
    expect(address.host).toBe("127.0.0.1");
    expect(address.port).toBeGreaterThan(0);
    const [there] = await Promise.all([listener.accept(), connect(address).then(closeAfterTest)]);
    closeAfterTest(there);
    expect(listener.lastAccepted).toMatchObject({ host: "127.0.0.1" });
  });

  test("a process with another key is refused, and accept() does not report it", async () => {
    const listener = closeAfterTest(new Listener({ authKey }));
    const accepting = listener.accept();
    for (let i = 0; i < 3; i++)
      await expect(connect(listener.address, { authKey: bytes("guess") })).rejects.toThrow(AuthenticationError);
    const [there] = await Promise.all([accepting, connect(listener.address, { authKey }).then(closeAfterTest)]);
    closeAfterTest(there);
    // A client without a key gets the reason with the end of its connection.
    const naive = closeAfterTest(await connect(listener.address));
    const error = (await naive.recv().catch((error) => error)) as Error;
    expect(error).toBeInstanceOf(EOFError);
    expect(error.cause).toBeInstanceOf(AuthenticationError);
  });

  test("a silent client is disconnected after the handshake timeout, and delays no other", async () => {
    const listener = closeAfterTest(new Listener({ authKey, handshakeTimeout: 300 }));
    const silent = Array.from({ length: 20 }, () => net.connect(listener.address as string));
    let closedCount = 0;
    let receivedBytes = 0;
    for (const socket of silent) {
      socket.on("data", (chunk) => (receivedBytes += chunk.length)).on("close", () => closedCount++);
      socket.on("error", () => {});
    }
    const [there] = await Promise.all([listener.accept(), connect(listener.address, { authKey }).then(closeAfterTest)]);
    closeAfterTest(there);
    await until(() => closedCount === silent.length);
    expect(receivedBytes / silent.length).toBeLessThan(100); // the challenge only
  });

  test("a client that sends noise is disconnected", async () => {
    const listener = closeAfterTest(new Listener({ authKey }));
    const noises = [
      bytes("GET / HTTP/1.1\r\n\r\n"),
      new Uint8Array(100_000).fill(255),
      Uint8Array.of(0, 0, 0, 2, 1, 1),
    ];
    for (const noise of noises) {
      const socket = net.connect(listener.address as string, () => socket.write(noise));
      socket.on("error", () => {}).resume();
      await new Promise((resolve) => socket.on("close", resolve));
    }
    await expect(listener.accept({ timeout: 0 })).rejects.toThrow(TimeoutError);
  });

  test("a message that is cut off, or not a message, is the cause of the end", async () => {
    const listener = closeAfterTest(new Listener());
    const socket = net.connect(listener.address as string, () => socket.end(Uint8Array.of(0, 0, 0, 9, 1, 2)));
    const connection = closeAfterTest(await listener.accept());
    const error = (await connection.recv().catch((error) => error)) as Error;
    expect(error).toBeInstanceOf(EOFError);
    expect((error.cause as Error).message).toContain("in the middle of a message");
    socket.destroy();
    const garbage = net.connect(listener.address as string, () => garbage.write(new Uint8Array(12).fill(128)));
    const second = closeAfterTest(await listener.accept());
    const reason = (await second.recv().catch((error) => error)) as Error;
    expect((reason.cause as Error).message).toContain("not a message");
    garbage.destroy();
  });

  test("accept() ends with its timeout, its signal, and close() of the listener", async () => {
    const listener = new Listener();
    await expect(listener.accept({ timeout: 5 })).rejects.toThrow(TimeoutError);
    const controller = new AbortController();
    const aborted = listener.accept({ signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
    const waiting = listener.accept();
    const client = closeAfterTest(await connect(listener.address));
    await waiting.then(closeAfterTest);
    const ended = listener.accept();
    listener.close();
    await expect(ended).rejects.toThrow("was cancelled by close()");
    await expect(listener.accept()).rejects.toThrow("after close()");
    // Accepted connections stay open.
    await client.sendBytes(bytes("still"));
    await expect(connect(listener.address)).rejects.toThrow(ConnectionError);
  });

  test("for await accepts connections until the listener is closed", async () => {
    const listener = new Listener();
    for (let i = 0; i < 3; i++) await connect(listener.address).then(closeAfterTest);
    let seen = 0;
    for await (const connection of listener) {
      closeAfterTest(connection);
      if (++seen === 3) listener.close();
    }
    expect(seen).toBe(3);
  });

  test("connections beyond the backlog are closed", async () => {
    const listener = closeAfterTest(new Listener({ backlog: 2 }));
    const clients = await Promise.all([1, 2, 3, 4].map(() => connect(listener.address).then(closeAfterTest)));
    const ended = clients.map((client) => client.poll({ timeout: 10_000 }));
    await Promise.race(ended);
    closeAfterTest(await listener.accept());
    closeAfterTest(await listener.accept());
    await expect(listener.accept({ timeout: 0 })).rejects.toThrow(TimeoutError);
  });

  test("an address that cannot be used is an error of ready and accept()", async () => {
    const first = closeAfterTest(new Listener({ address: newSocketPath() }));
    for (const address of [first.address, `${folder}/none/such`]) {
      const listener = new Listener({ address });
      await expect(listener.ready).rejects.toThrow(`cannot listen at ${address}`);
      await expect(listener.accept()).rejects.toThrow("cannot listen at");
    }
    expect(existsSync(first.address as string)).toBe(true);
    writeFileSync(newSocketPath(), "");
    await expect(new Listener({ address: `${folder}/${count}` }).accept()).rejects.toThrow("remove the socket");
    await expect(connect(newSocketPath())).rejects.toThrow("start a listener there");
    await expect(connect({ host: "127.0.0.1", port: 1 })).rejects.toThrow("127.0.0.1:1");
  });

  test("connect() ends with its timeout and its signal while the listener is silent", async () => {
    const listener = closeAfterTest(new Listener());
    await expect(connect(listener.address, { authKey, timeout: 50 })).rejects.toThrow(TimeoutError);
    await expect(connect(listener.address, { authKey, signal: AbortSignal.timeout(20) })).rejects.toThrow();
  });

  test("connect() rejects a wrong address, and new Listener() throws for wrong options", async () => {
    for (const address of [
      "",
      "a\0b",
      {},
      { host: "x" },
      { host: "", port: 1 },
      { host: "x", port: 65536 },
      { host: "x", port: 0 },
      7,
      null,
    ])
      await expect(connect(address as never)).rejects.toThrow(TypeError);
    expect(() => new Listener({ address: "x".repeat(200) })).toThrow(RangeError);
    expect(() => new Listener({ family: "inet", address: "/x" })).toThrow("of family");
    expect(() => new Listener({ family: "tcp" as never })).toThrow(TypeError);
    expect(() => new Listener({ authKey: "secret" as never })).toThrow(TypeError);
    expect(() => new Listener({ authKey: new Uint8Array(0) })).toThrow(RangeError);
    expect(() => new Listener({ backlog: 0 })).toThrow(RangeError);
    expect(() => new Listener({ backLog: 5 } as never)).toThrow('Did you mean "backlog"?');
    expect(() => new Listener({ authkey: authKey } as never)).toThrow('Did you mean "authKey"?');
    expect(() => new Listener("/path" as never)).toThrow("takes its options as one object");
    expect(() => new Listener({ handshakeTimeout: -1 })).toThrow("takes a handshakeTimeout of 0 or more milliseconds");
    const listener = closeAfterTest(new Listener());
    const [a] = pipe();
    await expect(a.send(listener)).rejects.toThrow(SendError);
  });

  test("a sender waits while the receiver of a connection is slow", async () => {
    for (const [a, b] of [await pair({ authKey }), await pair({})]) {
      let sent = 0;
      const sending = (async () => {
        for (; sent < 200; sent++) await a.sendBytes(new Uint8Array(100_000));
      })();
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(sent).toBeLessThan(100);
      for (let i = 0; i < 200; i++) await b.recvBytes();
      await sending;
    }
  });

  test("an end with waiting messages is handed to a child, and the peer gets EOFError when the child ends", async () => {
    const [a, b] = await pair({ authKey });
    await b.send("first");
    await until(() => a.poll());
    await b.send("second");
    const child = new Process({ target: tasks.echo, args: [a as Connection] });
    await child.start();
    expect([await b.recv(), await b.recv()]).toEqual(["first", "second"]);
    child.kill();
    await expect(b.recv()).rejects.toThrow(EOFError);
    await child.join();
    // A connection that carries bytes only does so in another process too.
    const [c, d] = await pair({});
    const second = new Process({ target: tasks.tryToSend, args: [c as Connection] });
    await second.start();
    expect(await d.recvBytes()).toEqual(bytes("ERR_BYTES_ONLY"));
    await second.join();
  });

  test.skipIf(!port.capabilities.fork)(
    "accept() in a forked child reports that the parent has the listener",
    async () => {
      await using program = runProgram(fixture(import.meta.url, "forks-listener.js"));
      expect(await program.exited).toEqual({ code: 0, signal: null });
      expect(program.stdout).toContain("accept() was called on a listener of the parent process");
      expect(program.stdout).toContain("accept() was called on a listener after close()");
    },
  );

  const hosts: Host[] = port.name === "deno" ? ["deno", "node"] : ["node", "deno"];
  for (const other of hosts) {
    test(`a program on ${other} sends values and ends of pipes`, { timeout: 60_000 }, async () => {
      await using listener = new Listener({ authKey });
      await using program = runProgram(
        fixture(import.meta.url, "connects.js"),
        [listener.address as string, "secret"],
        {
          host: other,
        },
      );
      const connection = closeAfterTest(
        await listener.accept<{ there: Connection; list: unknown[] } | string>({ timeout: 30_000 }),
      );
      const first = (await connection.recv()) as { there: Connection; list: unknown[] };
      expect(first.list).toEqual([1, new Map([["k", -0]])]);
      await first.there.send({ from: "here" });
      expect(await first.there.recv()).toEqual(["seen", { from: "here" }]);
      first.there.close();
      expect(await connection.recv()).toBe("over");
      expect(await program.exited).toEqual({ code: 0, signal: null });
      expect(program.stderr).toBe("");
    });
  }
});
