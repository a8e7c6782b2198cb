// What the benchmarks of pools measure by.

/** So long each works before it is measured, in milliseconds: until what runs often is compiled, in all processes. */
const WARMUP_MS = 2000;

/** So long each is measured at least, in milliseconds: what takes a few by itself would tell of the moment alone. */
const MIN_MEASURE_MS = 1000;

export async function warm(run) {
  for (const until = performance.now() + WARMUP_MS; performance.now() < until; ) await run();
}

/** How many a second, of which a run does so many. */
export async function rate(count, run) {
  const from = performance.now();
  let [runs, now] = [0, from];
  for (; now < from + MIN_MEASURE_MS; now = performance.now()) {
    await run();
    runs++;
  }
  return ((count * runs) / (now - from)) * 1000;
}
