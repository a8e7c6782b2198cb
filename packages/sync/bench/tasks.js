import { task } from "@multiproc/core";
import { Lock, Semaphore } from "@multiproc/sync";

// Each task measures the nanoseconds of one uncontended acquire and release, after a warm-up. Each
// has a loop of its own, as in real programs: a call site that sees several classes is slower for
// all of them.

export const lockAlone = task(import.meta.url, function lockAlone(count) {
  const lock = new Lock();
  const loop = (times) => {
    for (let i = 0; i < times; i++) lock.acquireSync().release();
  };
  return timed(loop, count);
});

export const awaitAlone = task(import.meta.url, async function awaitAlone(count) {
  const lock = new Lock();
  const loop = async (times) => {
    for (let i = 0; i < times; i++) (await lock.acquire()).release();
  };
  return await timed(loop, count);
});

export const semaphoreAlone = task(import.meta.url, function semaphoreAlone(count) {
  const semaphore = new Semaphore(1);
  const loop = (times) => {
    for (let i = 0; i < times; i++) semaphore.acquireSync().release();
  };
  return timed(loop, count);
});

async function timed(loop, count) {
  for (let i = 0; i < 100; i++) await loop(2000);
  const startedAt = performance.now();
  await loop(count);
  return ((performance.now() - startedAt) / count) * 1e6;
}

export const work = task(import.meta.url, async function work(lock, startBarrier, count, isAsync) {
  for (let i = 0; i < 20_000; i++) lock.acquireSync().release(); // warm
  await startBarrier.wait();
  const startedAt = performance.timeOrigin + performance.now();
  if (isAsync) for (let i = 0; i < count; i++) (await lock.acquire()).release();
  else for (let i = 0; i < count; i++) lock.acquireSync().release();
  return [startedAt, performance.timeOrigin + performance.now()];
});

export const hold = task(import.meta.url, async function hold(lock, connection) {
  await lock.acquire();
  await connection.send("held");
  await new Promise(() => setInterval(() => {}, 1000));
});
