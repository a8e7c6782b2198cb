import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import type { Process } from "@multiproc/process";
import { forkserverKind, getStartMethod } from "@multiproc/start-methods";
import { Lock } from "@multiproc/sync";
import { linesOf, until } from "@multiproc/testing";
import { expect, onTestFinished, test } from "vitest";
import { startTask, tasks } from "./remote-controlled-child.ts";

/**
 * The number of kills where a process starts in milliseconds. MULTIPROC_TEST_KILLS sets another
 * number for every start method.
 */
const KILL_COUNT_IF_FORKED = 100;
const DEFAULT_KILL_COUNT = 20;
const CHURNER_COUNT = 3;

/** Kills the holder of a lock at random moments, again and again. */
export function kills(): void {
  test("a lock whose holders are killed at random moments never deadlocks, and never has two holders", {
    timeout: 180_000,
  }, async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "kills-"));
    onTestFinished(() => fs.rmSync(folder, { recursive: true }));
    const holderPath = path.join(folder, "holder");
    fs.writeFileSync(holderPath, new Uint8Array(4));
    const lock = new Lock();
    const churners = new Map<number, Process>();
    const startChurner = async (): Promise<void> => {
      const child = await startTask(tasks.churn, lock, holderPath);
      churners.set(child.pid as number, child);
    };
    for (let i = 0; i < CHURNER_COUNT; i++) await startChurner();
    for (let round = await killCount(), last = 0; round > 0; round--) {
      const pid = await until(() => holderIn(holderPath, last), {
        interval: 1,
        message: `another holder than ${last}`,
      });
      process.kill(pid, "SIGKILL"); // it still holds the lock, or has just released it
      last = pid;
      await (churners.get(pid) as Process).join();
      churners.delete(pid);
      await startChurner();
    }
    expect(linesOf(`${holderPath}.faults`)).toEqual([]);
  });
}

async function killCount(): Promise<number> {
  const wanted = Number(process.env.MULTIPROC_TEST_KILLS ?? 0);
  if (wanted > 0) return wanted;
  const isByFork = getStartMethod() === "forkserver" && (await forkserverKind()).kind === "fork";
  return isByFork ? KILL_COUNT_IF_FORKED : DEFAULT_KILL_COUNT;
}

/** Returns the pid in the file, or 0 if the lock is free or its holder is `last`. */
function holderIn(holderPath: string, last: number): number {
  const [pid = 0] = new Int32Array(new Uint8Array(fs.readFileSync(holderPath)).buffer);
  return pid === last ? 0 : pid;
}
