/**
 * Gives every child random numbers of its own.
 *
 * A fork copies the state of every generator, so siblings would draw the same numbers from
 * `Math.random()`, `crypto.randomUUID()` and `crypto.randomInt()`. OpenSSL itself detects a fork,
 * so the numbers that come directly from it (`randomBytes`, `getRandomValues`) differ already.
 */
const crypto = process.getBuiltinModule("node:crypto");

/**
 * The pools of Node (lib/internal/crypto/random.js), which hold random bytes for the next calls:
 * 128 of `randomUUID()`, 1,024 of `randomInt()`.
 */
const RANDOM_POOLS: readonly { readonly size: number; readonly draw: () => unknown }[] = [
  { size: 128, draw: () => crypto.randomUUID() },
  { size: 1024, draw: () => crypto.randomInt(2) },
];

let seedMathRandom: (() => void) | undefined;
let arePoolsDrained = false;

/**
 * Replaces `Math.random` with a generator that can be reseeded. A fork server does that before it
 * loads modules. A module that keeps a reference to the function then also gets new numbers in each
 * child.
 */
export function replaceMathRandom(): void {
  const seedWords = new Uint32Array(4);
  let [a, b, c, counter] = [0, 0, 0, 0];
  seedMathRandom = () => {
    crypto.randomFillSync(seedWords);
    [a, b, c, counter] = seedWords as unknown as [number, number, number, number];
  };
  // sfc32 by Chris Doty-Humphrey: it passes PractRand, and is about as fast as V8's generator.
  const next = (): number => {
    const drawn = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + drawn;
    c |= 0;
    return drawn >>> 0;
  };
  seedMathRandom();
  for (let i = 0; i < 12; i++) next();
  Math.random = function random() {
    // 53 bits, the precision of a double.
    return ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53;
  };
}

/**
 * In a child: reseeds all generators, so that its numbers differ from those of the parent and of
 * siblings.
 */
export function reseed(): void {
  if (seedMathRandom === undefined) reseedV8Context();
  else seedMathRandom();
  if (!arePoolsDrained) for (const { size, draw } of RANDOM_POOLS) for (let i = 0; i < size; i++) draw();
  arePoolsDrained = false; // this child may fill the pools, and then fork
}

/**
 * In a fork server, as its last step: empties the pools. Otherwise each child would have to empty
 * them, which takes a millisecond. Node does not show how full a pool is. It is full right after a
 * draw that made a request to OpenSSL, and `size - 1` draws then empty it.
 */
export function drainRandomPools(): void {
  let requestCount = 0;
  const hook = process.getBuiltinModule("node:async_hooks").createHook({
    init(_id, type) {
      if (type === "RANDOMBYTESREQUEST") requestCount += 1;
    },
  });
  hook.enable();
  arePoolsDrained = RANDOM_POOLS.every(({ size, draw }) => {
    const countBefore = requestCount;
    for (let i = 0; i < size && requestCount === countBefore; i++) draw();
    for (let i = 1; i < size; i++) draw();
    return requestCount === countBefore + 1;
  });
  hook.disable();
}

/**
 * Replaces `Math.random` with that of a new context, which V8 seeds at the first call from a flag.
 * V8 cannot reseed the old function, so code that has kept a reference to it draws the parent's
 * numbers.
 */
function reseedV8Context(): void {
  const v8 = process.getBuiltinModule("node:v8");
  v8.setFlagsFromString(`--random-seed=${crypto.randomInt(1, 2 ** 31 - 1)}`);
  Math.random = process.getBuiltinModule("node:vm").runInNewContext("Math.random") as () => number;
  Math.random();
  // With the flag still set, every worker of this process would draw the same numbers as this
  // thread.
  v8.setFlagsFromString("--random-seed=0");
}
