/** Where tests of pools play: pools that end with their test, and a folder that goes with the last of them. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Pool, type PoolOptions } from "@multiproc/pool";
import { noChildLeft } from "@multiproc/testing";
import { afterAll, afterEach } from "vitest";

/** A folder that is there, and empty but for what {@link file} names. */
export const folder: string = fs.mkdtempSync(path.join(os.tmpdir(), "pool-test-"));
const startedPools: Array<{ terminate(): Promise<void> }> = [];
let count = 0;

/** A path at which there is no file yet. */
export function file(): string {
  return path.join(folder, `file-${++count}`);
}

/** A pool that is terminated after the test. */
export function poolOf(options: PoolOptions<any> = { processes: 2 }): Pool<any> {
  return terminatedAfterTest(new Pool(options));
}

/** Has a pool terminated after the test. */
export function terminatedAfterTest<P extends { terminate(): Promise<void> }>(pool: P): P {
  startedPools.push(pool);
  return pool;
}

afterEach(async () => {
  await Promise.all(startedPools.splice(0).map((pool) => pool.terminate()));
  await noChildLeft();
});
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));
