import { task } from "@multiproc/core";

export const work = task(import.meta.url, async function work(lock, start, count, isAsync) {
  for (let i = 0; i < 20_000; i++) lock.acquireSync().release(); // warm
  await start.wait();
  const begin = performance.timeOrigin + performance.now();
  if (isAsync) for (let i = 0; i < count; i++) (await lock.acquire()).release();
  else for (let i = 0; i < count; i++) lock.acquireSync().release();
  return [begin, performance.timeOrigin + performance.now()];
});

export const hold = task(import.meta.url, async function hold(lock, connection) {
  await lock.acquire();
  await connection.send("held");
  await new Promise(() => setInterval(() => {}, 1000));
});
