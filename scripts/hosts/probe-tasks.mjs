import { task } from "multiproc";

export const square = task(import.meta.url, function square(x) {
  return x * x;
});

export const echo = task(import.meta.url, async function echo(connection) {
  for await (const value of connection) await connection.send(value);
});

export const fill = task(import.meta.url, async function fill(queue, count) {
  for (let i = 0; i < count; i++) await queue.put(i);
});

export const addUnderLock = task(import.meta.url, async function addUnderLock(lock, sums, times) {
  for (let i = 0; i < times; i++) {
    const held = await lock.acquire();
    sums.array[0] += 1;
    await held.release();
  }
});
