// The child processes of queue.mjs.

/** Puts `count` small objects, or buffers of `size` bytes. */
export async function produce(queue, ready, go, count, size, batch) {
  const buffer = size > 0 ? new Uint8Array(size) : undefined;
  await ready.put("up");
  await go.get();
  for (let i = 1; i <= count; i++) {
    const put = queue.put(buffer ?? { id: i, x: 1 });
    if (i % batch === 0 || i === count) await put;
  }
}

/** Gets `count` items. */
export async function consume(queue, ready, done, count) {
  const first = queue.get();
  await ready.put("up");
  await first;
  for (let i = 1; i < count; i++) await queue.get();
  await done.put("done");
}
