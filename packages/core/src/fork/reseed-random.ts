/**
 * Randomness of its own for every child.
 *
 * A fork copies the state of every generator: without this, siblings would draw the same numbers from `Math.random()`,
 * `crypto.randomUUID()` and `crypto.randomInt()`. OpenSSL sees a fork by itself, so what is drawn directly from it
 * (`randomBytes`, `getRandomValues`) differs anyway.
 */
const crypto = process.getBuiltinModule("node:crypto");

/** `randomUUID()` draws 128 at once, and `randomInt()` 1,024 (lib/internal/crypto/random.js): what it has left is a stock. */
const RANDOM_POOLS: readonly { readonly size: number; readonly draw: () => unknown }[] = [
  { size: 128, draw: () => crypto.randomUUID() },
  { size: 1024, draw: () => crypto.randomInt(2) },
];

let seedMathRandom: (() => void) | undefined;
let poolsAreDrained = false;

/**
 * Puts a generator that can be given a new seed in the place of `Math.random`: in a fork server before it loads anything,
 * so that also modules that keep the function itself get fresh numbers in each child.
 */
export function replaceMathRandom(): void {
  const seedWords = new Uint32Array(4);
  let [a, b, c, counter] = [0, 0, 0, 0];
  seedMathRandom = () => {
    crypto.randomFillSync(seedWords);
    [a, b, c, counter] = seedWords as unknown as [number, number, number, number];
  };
  // sfc32 by Chris Doty-Humphrey: passes PractRand, and costs about what V8's own generator does.
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
    // 53 bits, as many as a double has below 1.
    return ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53;
  };
}

/** In a child: nothing that is drawn from now on has been drawn by its parent or by a sibling. */
export function reseed(): void {
  if (seedMathRandom === undefined) reseedV8Context();
  else seedMathRandom();
  if (!poolsAreDrained) for (const { size, draw } of RANDOM_POOLS) for (let i = 0; i < size; i++) draw();
  poolsAreDrained = false; // a child of this child may find some
}

/**
 * In a fork server, last of all: leaves nothing in stock that its children would have to draw first, which would take each of
 * them a millisecond. A stock is known to be full when OpenSSL has just been asked.
 */
export function drainRandomPools(): void {
  let requestCount = 0;
  const hook = process.getBuiltinModule("node:async_hooks").createHook({
    init(_id, type) {
      if (type === "RANDOMBYTESREQUEST") requestCount += 1;
    },
  });
  hook.enable();
  poolsAreDrained = RANDOM_POOLS.every(({ size, draw }) => {
    const countBefore = requestCount;
    for (let i = 0; i < size && requestCount === countBefore; i++) draw();
    for (let i = 1; i < size; i++) draw();
    return requestCount === countBefore + 1;
  });
  hook.disable();
}

/**
 * V8 seeds the generator of a context at its first call, from a flag if that is set. Code that kept `Math.random` itself
 * goes on with the parent's numbers; V8 has no way to change that.
 */
function reseedV8Context(): void {
  const v8 = process.getBuiltinModule("node:v8");
  v8.setFlagsFromString(`--random-seed=${crypto.randomInt(1, 2 ** 31 - 1)}`);
  Math.random = process.getBuiltinModule("node:vm").runInNewContext("Math.random") as () => number;
  Math.random();
  // Left on, every worker of this process would draw what this thread draws.
  v8.setFlagsFromString("--random-seed=0");
}
