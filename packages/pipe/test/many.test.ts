import { existsSync, readdirSync, readlinkSync } from "node:fs";
import process from "node:process";
import { fromModule } from "@multiproc/core";
import { type Connection, pipe } from "@multiproc/pipe";
import { Process } from "@multiproc/process";
import { fixture, noChildLeft, until } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";

const { takeEnds } = fromModule<typeof import("./fixtures/takes-ends.js")>(fixture(import.meta.url, "takes-ends.js"));
const PIPE_COUNT = Number(process.env.MULTIPROC_TEST_PIPES ?? 1000);
/** Deno opens a pair of sockets for itself, once. */
const DENO_OWN_FD_COUNT = 2;

afterEach(noChildLeft);

/** Returns the targets of all descriptors of a process, for the message of a failure. */
function describeFds(pid: number): string {
  const targets = readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return "closed";
    }
  });
  return targets.sort().join(", ");
}

describe.skipIf(!existsSync("/proc/self/fd"))("many pipes", { timeout: 120_000 }, () => {
  test("pipes that are closed leave no descriptor open in either process", async () => {
    const [here, there] = pipe<Connection>();
    const child = new Process({ target: takeEnds, args: [there] });
    await child.start();
    const openFdCount = (): number => readdirSync("/proc/self/fd").length + readdirSync(`/proc/${child.pid}/fd`).length;
    const openAndClose = async (): Promise<void> => {
      const [a, b] = pipe<number>();
      await here.send(b);
      expect(await a.recv()).toBe(1);
      a.close();
    };
    // As many at a time as below, because Deno opens descriptors for itself when it is busy.
    const openAndCloseMany = async (): Promise<void> => {
      await Promise.all(Array.from({ length: 50 }, openAndClose));
    };
    await openAndCloseMany();
    const before = openFdCount();
    for (let i = 0; i < PIPE_COUNT; i += 50) await openAndCloseMany();
    await until(() => openFdCount() <= before + 2 * DENO_OWN_FD_COUNT, {
      message: () =>
        `${openFdCount()} descriptors instead of ${before}: ${describeFds(process.pid)}; ${describeFds(child.pid as number)}`,
    });
    here.close();
    await child.join();
  });
});
