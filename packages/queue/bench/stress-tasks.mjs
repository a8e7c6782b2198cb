// The child processes of stress.mjs.
export async function put(queue, from, to, style) {
  const pending = [];
  for (let i = from; i < to; i++) {
    const put = queue.put(i);
    if (style === 0) await put;
    else pending.push(put);
    if (style === 2 && i % 64 === 0) await Promise.all(pending.splice(0));
  }
  await Promise.all(pending);
}

export async function take(queue, results) {
  const seen = [];
  for await (const item of queue) seen.push(item);
  await results.put(seen);
}
