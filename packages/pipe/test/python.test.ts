import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type Address, AuthenticationError, type Connection, connect, EOFError, Listener } from "@multiproc/pipe";
import { fixture, noChildLeft, until } from "@multiproc/testing";
import { afterAll, afterEach, describe, expect, test } from "vitest";

/** The default Python, and further ones from the environment, separated by spaces. */
const pythonNames = ["python3", ...(process.env.MULTIPROC_TEST_PYTHONS ?? "").split(" ").filter(Boolean)];
const pythons = pythonNames.flatMap((name) => {
  try {
    const script = "import multiprocessing.connection, sys; print(sys.executable)";
    return execFileSync(name, ["-c", script], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return [];
  }
});
const [python] = pythons;
const folder = mkdtempSync(`${tmpdir()}/multiproc-test-`);
let count = 0;
const key = new TextEncoder().encode("secret");
const running: ChildProcess[] = [];

interface Peer {
  readonly output: string;
  readonly port: number;
}

/** Starts a Python peer. With the role "listen", it listens when this returns. */
async function start(
  name: string,
  role: "listen" | "connect",
  address: string | number,
  auth: string,
  work: string,
): Promise<Peer> {
  const family = typeof address === "string" ? "unix" : "inet";
  const script = fileURLToPath(fixture(import.meta.url, "peer.py"));
  const child = spawn(name, [script, role, family, String(address), auth, work], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  running.push(child);
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  if (role === "listen") await until(() => output.includes("\n"), { timeout: 30_000 });
  return {
    get output() {
      return output;
    },
    get port() {
      return Number(output.split(/\s/)[1]);
    },
  };
}

async function expectEchoes(connection: Connection): Promise<void> {
  const large = new Uint8Array(5_000_000);
  for (let i = 0; i < large.length; i += 1000) large[i] = i >> 10;
  for (const bytes of [Uint8Array.of(1, 2, 3), new Uint8Array(0), new Uint8Array(16_384).fill(7), large]) {
    await connection.sendBytes(bytes);
    const back = await connection.recvBytes();
    expect(back.length).toBe(bytes.length);
    expect(back.every((byte, i) => byte === bytes[i])).toBe(true);
  }
  for (let i = 0; i < 200; i++) await connection.sendBytes(Uint8Array.of(i));
  for (let i = 0; i < 200; i++) expect(await connection.recv()).toEqual(Uint8Array.of(i));
}

afterEach(async () => {
  for (const child of running.splice(0)) child.kill("SIGKILL");
  await noChildLeft();
});
afterAll(() => rmSync(folder, { recursive: true }));

describe.skipIf(python === undefined)("a connection to a Python process", { timeout: 60_000 }, () => {
  for (const name of pythons) {
    for (const auth of ["secret", "-"]) {
      const authKey = auth === "-" ? undefined : key;
      test(`Python connects to a Listener ${authKey ? "with" : "without"} a key: ${name}`, async () => {
        await using listener = new Listener({ authKey });
        const peer = await start(name, "connect", listener.address as string, auth, "echo");
        const connection = await listener.accept({ timeout: 30_000 });
        expect(listener.lastAccepted).toBe("");
        await expectEchoes(connection);
        connection.close();
        await until(() => peer.output.startsWith("EOFError"));
      });

      test(`connect() reaches a Listener of Python ${authKey ? "with" : "without"} a key: ${name}`, async () => {
        const peer = await start(name, "listen", 0, auth, "echo");
        const connection = await connect({ host: "127.0.0.1", port: peer.port }, { authKey, timeout: 30_000 });
        await expectEchoes(connection);
        connection.close();
        await until(() => peer.output.includes("EOFError"));
      });
    }
  }

  test("a wrong key is refused on both sides", async () => {
    for (const name of pythons) {
      const peer = await start(name, "listen", `${folder}/${++count}`, "secret", "echo");
      const wrong = connect(`${folder}/${count}`, { authKey: new TextEncoder().encode("guess"), timeout: 30_000 });
      await expect(wrong).rejects.toThrow(AuthenticationError);
      await until(() => peer.output.includes("AuthenticationError digest received was wrong"));
      await using listener = new Listener({ authKey: key });
      const client = await start(name, "connect", listener.address as string, "guess", "echo");
      await until(() => client.output.startsWith("AuthenticationError digest sent was rejected"), { timeout: 30_000 });
      await expect(listener.accept({ timeout: 0 })).rejects.toThrow("timed out");
    }
  });

  test("a pickled object arrives as bytes, and send() is refused", async () => {
    const listener = new Listener({ family: "inet", authKey: key });
    await listener.ready;
    await start(python as string, "connect", (listener.address as Exclude<Address, string>).port, "secret", "pickle");
    const connection = await listener.accept<Uint8Array>({ timeout: 30_000 });
    expect(listener.lastAccepted).toMatchObject({ host: "127.0.0.1" });
    expect((await connection.recv())[0]).toBe(0x80); // the first byte of a pickle
    await expect(connection.send(1 as never)).rejects.toThrow("bytes only");
    await expect(connection.recv()).rejects.toThrow(EOFError);
    connection.close();
    listener.close();
  });

  test.skipIf(process.env.MULTIPROC_TEST_HUGE === undefined)(
    "a message of 2 GiB is sent in both directions",
    async () => {
      await using listener = new Listener({ authKey: key });
      const peer = await start(python as string, "connect", listener.address as string, "secret", "huge");
      const connection = await listener.accept({ timeout: 30_000 });
      const bytes = await connection.recvBytes();
      expect(bytes.length).toBe(2 ** 31);
      await connection.sendBytes(bytes);
      await until(() => peer.output.startsWith(String(2 ** 31)), { timeout: 60_000 });
      connection.close();
    },
  );
});
