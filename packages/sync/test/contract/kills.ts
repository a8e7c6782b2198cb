import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import type { Process } from "@multiproc/process";
import { forkserverKind, getStartMethod } from "@multiproc/start-methods";
import { Lock } from "@multiproc/sync";
import { linesOf, until } from "@multiproc/testing";
import { expect, onTestFinished, test } from "vitest";
import { start, tasks } from "./remote-controlled-child.ts";

/** Where a process starts in some milliseconds; MULTIPROC_TEST_KILLS asks for so many everywhere. */
const MANY = 100;
const FEW = 20;
const CHURNERS = 3;

/** Whoever holds a lock is killed at any moment, again and again. */
export function kills(): void {
  test("holders are killed at random moments: there is no deadlock, and there are never two", {
    timeout: 180_000,
  }, async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "kills-"));
    onTestFinished(() => fs.rmSync(folder, { recursive: true }));
    const file = path.join(folder, "holder");
    fs.writeFileSync(file, new Uint8Array(4));
    const lock = new Lock();
    const churners = new Map<number, Process>();
    const begin = async (): Promise<void> => {
      const child = await start(tasks.churn, lock, file);
      churners.set(child.pid as number, child);
    };
    for (let i = 0; i < CHURNERS; i++) await begin();
    for (let round = await rounds(), last = 0; round > 0; round--) {
      const pid = await until(() => holderIn(file, last), { interval: 1, message: `another holder than ${last}` });
      process.kill(pid, "SIGKILL"); // it holds the lock, or has given it back by now
      last = pid;
      await (churners.get(pid) as Process).join();
      churners.delete(pid);
      await begin();
    }
    expect(linesOf(`${file}.faults`)).toEqual([]);
  });
}

async function rounds(): Promise<number> {
  const wanted = Number(process.env.MULTIPROC_TEST_KILLS ?? 0);
  if (wanted > 0) return wanted;
  const forks = getStartMethod() === "forkserver" && (await forkserverKind()).kind === "fork";
  return forks ? MANY : FEW;
}

/** The pid in the file, if somebody has the lock who is not `last`. */
function holderIn(file: string, last: number): number {
  const [pid = 0] = new Int32Array(new Uint8Array(fs.readFileSync(file)).buffer);
  return pid === last ? 0 : pid;
}
