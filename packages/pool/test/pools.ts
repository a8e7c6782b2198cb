/**
 * Test helpers: pools that are terminated after each test, and a temporary folder that is removed
 * after the file.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Pool, type PoolOptions } from "@multiproc/pool";
import { noChildLeft } from "@multiproc/testing";
import { afterAll, afterEach } from "vitest";

/** The temporary folder, which contains only files named by {@link file}. */
export const folder: string = fs.mkdtempSync(path.join(os.tmpdir(), "pool-test-"));
const startedPools: Array<{ terminate(): Promise<void> }> = [];
let count = 0;

/** Returns a path in the temporary folder at which there is no file yet. */
export function file(): string {
  return path.join(folder, `file-${++count}`);
}

/** Creates a pool that is terminated after the test. */
export function poolOf(options: PoolOptions<any> = { processes: 2 }): Pool<any> {
  return terminatedAfterTest(new Pool(options));
}

/** Terminates a pool after the test. */
export function terminatedAfterTest<P extends { terminate(): Promise<void> }>(pool: P): P {
  startedPools.push(pool);
  return pool;
}

afterEach(async () => {
  await Promise.all(startedPools.splice(0).map((pool) => pool.terminate()));
  await noChildLeft();
});
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));
