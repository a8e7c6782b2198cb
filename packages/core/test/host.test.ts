import { noChildLeft } from "@multiproc/testing";
import { afterEach, expect, test } from "vitest";
import type { Digest, Subprocess } from "../src/host/host.ts";
import { host } from "../src/host/mod.ts";

afterEach(noChildLeft);

test("ref(), unref() and kill() do nothing on a subprocess that ends in the same moment", async () => {
  const callEach = (child: Subprocess): void => {
    child.ref();
    child.unref();
    child.ref();
    child.kill("SIGCONT");
  };
  // The time between the end of a process and its report is short, so this tries many processes.
  for (let i = 0; i < 200; i++) {
    const child = await host.spawn("/bin/true", { args: [] });
    const errors: unknown[] = [];
    for (let attempt = 0; attempt < 20; attempt++) {
      const run = (): void => {
        try {
          callEach(child);
        } catch (error) {
          errors.push(error);
        }
        for (const end = performance.now() + 0.5; performance.now() < end; ); // computes for 0.5 ms
      };
      host.timer(run, attempt % 3, false);
    }
    expect(await child.exited).toEqual({ code: 0, signal: null });
    callEach(child);
    expect(errors).toEqual([]);
  }
});

const failingCalls: Record<string, () => Promise<unknown>> = {
  "spawn() with a zero byte in an argument": () => host.spawn("/bin/true", { args: ["a\0b"] }),
  "spawn() of a program that does not exist": () => host.spawn("/no/such/program", { args: [] }),
  "connect() to a port out of range": () => host.connect({ host: "127.0.0.1", port: 70_000 }),
  "connect() to a path that does not exist": () => host.connect("/no/such/socket"),
  "hmac() with an unknown hash function": () => host.hmac("sha0" as Digest, new Uint8Array(1), new Uint8Array(1)),
};

test.each(Object.entries(failingCalls))("%s rejects and does not throw", async (_, call) => {
  let result: Promise<unknown> | undefined;
  expect(() => (result = call())).not.toThrow();
  await expect(result).rejects.toThrow();
});
