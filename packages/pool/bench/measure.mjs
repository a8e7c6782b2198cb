// What the benchmarks of pools measure by.

/** So long each works before it is measured, in milliseconds: until what runs often is compiled, in all processes. */
const WARM = 2000;

export async function warm(run) {
  for (const until = performance.now() + WARM; performance.now() < until; ) await run();
}

/** How many a second. */
export async function rate(count, run) {
  const from = performance.now();
  await run();
  return (count / (performance.now() - from)) * 1000;
}
