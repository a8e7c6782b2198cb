// Measures rates, for the benchmarks of pools.

/**
 * The warm-up before a measurement, in milliseconds. All processes then have compiled their hot
 * code.
 */
const WARMUP_MS = 2000;

/** The least duration of a measurement, in milliseconds. A shorter one measures noise. */
const MIN_MEASURE_MS = 1000;

export async function warm(run) {
  for (const until = performance.now() + WARMUP_MS; performance.now() < until; ) await run();
}

/** Returns the number of items per second, where one run does `count` items. */
export async function rate(count, run) {
  const from = performance.now();
  let [runs, now] = [0, from];
  for (; now < from + MIN_MEASURE_MS; now = performance.now()) {
    await run();
    runs++;
  }
  return ((count * runs) / (now - from)) * 1000;
}
