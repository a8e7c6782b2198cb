// The types of calls: tsc checks this file. A line after `@ts-expect-error` must not compile.
import { fromModule, inline, task } from "@multiproc/core";
import {
  type ArgumentLists,
  type AsyncResult,
  type InitializerOptions,
  Pool,
  type PoolOptions,
  ThreadPool,
  type ThreadPoolOptions,
} from "@multiproc/pool";
import { expect, test } from "vitest";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const is = <A, B>(_: Equal<A, B>) => {};

const none = inline(() => {});
const square = task(import.meta.url, function square(x: number) {
  return x * x;
});
const add = inline((a: number, b: number) => a + b);
const optional = inline((x: number, y?: string) => y ?? x);
const allOptional = inline((x?: number) => x);
const list = inline(<T>(x: T): T[] => [x]);
const pair = inline(<T, U>(x: T, y: U): [T, U] => [x, y]);
const asyncPair = inline(async (a: string, b: number) => ({ a, b }));
const rest = inline((...xs: number[]) => xs.length);
const oneAndRest = inline((x: number, ...xs: string[]) => xs.length + x);
const shape = inline((a: { n: number; kind: "circle" | "square" }) => a.n);
const untyped: (...args: any[]) => any = inline(() => {});
const noValues = [1, 2].map((i) => [`${i}`, i]);

/** Never runs. Its calls are for tsc. */
async function applyTypes(pool: Pool | ThreadPool): Promise<void> {
  const a = pool.apply(square, [1]);
  is<typeof a, AsyncResult<number>>(true);
  const b = pool.apply(asyncPair, ["a", 1]);
  is<typeof b, AsyncResult<{ a: string; b: number }>>(true);
  const c = pool.apply(list, [1]);
  is<typeof c, AsyncResult<number[]>>(true);
  const d = pool.apply(pair, [1, "x"]);
  is<typeof d, AsyncResult<[number, string]>>(true);
  const e = pool.apply(optional, [1]);
  is<typeof e, AsyncResult<string | number>>(true);
  const results: AsyncResult<unknown>[] = [a, b, c, d, e];
  void results;
  pool.apply(optional, [1, "x"]);
  pool.apply(allOptional);
  pool.apply(allOptional, [1]);
  pool.apply(rest);
  pool.apply(rest, [1, 2]);
  pool.apply(oneAndRest, [1, "x"]);
  pool.apply(none);
  pool.apply(none, [], { timeout: 5 });
  pool.apply(none, undefined, { timeout: 5 });
  pool.apply(untyped);
  pool.apply(untyped, [1, 2, 3]);
  pool.apply(shape, [{ n: 1, kind: "circle" }]);
  const args: [number, string] = [1, "a"];
  pool.apply(optional, args);
  const { cpus } = fromModule<typeof import("node:os")>("node:os");
  (await pool.apply(cpus))[0]?.model;
  // @ts-expect-error: the argument is missing
  pool.apply(square);
  // @ts-expect-error: the argument is missing
  pool.apply(square, undefined, { timeout: 5 });
  // @ts-expect-error: the argument is missing
  pool.apply(oneAndRest);
  // @ts-expect-error: the argument is missing
  pool.apply(oneAndRest, []);
  // @ts-expect-error: the second argument is missing
  pool.apply(asyncPair, ["a"]);
  // @ts-expect-error: one argument too many
  pool.apply(none, [1]);
  // @ts-expect-error: arguments are an array
  pool.apply(square, 1);
  // @ts-expect-error: an unknown option
  pool.apply(square, [1], { timeOut: 5 });
}

/** Never runs. */
async function mapTypes(pool: Pool): Promise<void> {
  const a = pool.map(square, [1, 2]);
  is<typeof a, AsyncResult<number[]>>(true);
  const b = pool.map(square, new Set([1]), { settle: true });
  is<typeof b, AsyncResult<PromiseSettledResult<number>[]>>(true);
  const c = pool.map(list, [1]);
  is<typeof c, AsyncResult<number[][]>>(true);
  const d = pool.map(optional, [1]);
  is<typeof d, AsyncResult<(string | number)[]>>(true);
  const numbers = (async function* () {
    yield 1;
  })();
  for await (const x of pool.imap(square, numbers)) is<typeof x, number>(true);
  for await (const x of pool.imapUnordered(
    inline((s: string) => new Date(s)),
    ["a"],
  ))
    is<typeof x, Date>(true);
  // @ts-expect-error: not a number
  pool.map(square, ["a"]);
  // @ts-expect-error: not a number
  pool.imap(square, ["a"]);
  // @ts-expect-error: options are one object
  pool.map(square, [1], 4);
  // @ts-expect-error: imap() has no settle
  pool.imap(square, [1], { settle: true });
}

/** Never runs. */
async function starmapTypes(pool: Pool): Promise<void> {
  const a = pool.starmap(asyncPair, [["a", 1]]);
  is<typeof a, AsyncResult<{ a: string; b: number }[]>>(true);
  const b = pool.starmap(add, [[1, 2]], { settle: true });
  is<typeof b, AsyncResult<PromiseSettledResult<number>[]>>(true);
  const pairs = [1, 2].map((i) => [i, i + 1]);
  pool.starmap(add, pairs);
  pool.starmap(add, pairs, { settle: true });
  pool.starmap(
    add,
    [1, 2].map((i) => [i, i + 1]),
  );
  pool.starmap(
    add,
    [1, 2].map((i) => [i, i + 1] as const),
  );
  pool.starmap(
    add,
    [1, 2].map((i) => [i, i + 1] as [number, number]),
  );
  pool.starmap(
    add,
    Array.from({ length: 8 }, (_, i) => [i, 1]),
  );
  pool.starmap(
    asyncPair,
    [1, 2].map((i) => [`${i}`, i]),
  );
  pool.starmap(
    asyncPair,
    [1, 2].map((i) => [`${i}`, i] as const),
  );
  const held: [string, number][] = [["a", 1]];
  pool.starmap(asyncPair, held);
  const constant = [
    ["a", 1],
    ["b", 2],
  ] as const;
  pool.starmap(asyncPair, constant);
  pool.starmap(asyncPair, new Map([["a", 1]]));
  pool.starmap(asyncPair, new Set<[string, number]>());
  pool.starmap(
    asyncPair,
    (async function* () {
      yield ["a", 1] as [string, number];
    })(),
  );
  pool.starmap(optional, [[1], [1, "x"]]);
  pool.starmap(rest, [[1], [1, 2]]);
  pool.starmap(
    rest,
    [1, 2].map((i) => [i]),
  );
  pool.starmap(untyped, pairs);
  pool.starmap(shape, [[{ n: 1, kind: "circle" }]]);
  pool.starmap(add, []);
  pool.starmap(none, [[]]);
  // @ts-expect-error: the second argument is missing
  pool.starmap(add, [[1]]);
  // @ts-expect-error: the second argument is missing in one list
  pool.starmap(add, [[1, 2], [3]]);
  // @ts-expect-error: one argument too many
  pool.starmap(add, [[1, 2, 3]]);
  // @ts-expect-error: not a number
  pool.starmap(add, [[1, "a"]]);
  // @ts-expect-error: not lists of arguments
  pool.starmap(add, [1, 2]);
  // @ts-expect-error: the types of the parameters differ, and the order of the values is not known
  pool.starmap(asyncPair, noValues);
  const texts = ["a"].map((x) => [x]);
  // @ts-expect-error: not numbers
  pool.starmap(add, texts);
  // @ts-expect-error: not a kind
  pool.starmap(shape, [[{ n: 1, kind: "line" }]]);
}

/** Never runs. */
function optionTypes(): void {
  new Pool();
  new Pool(4);
  new Pool({});
  new Pool({ initializer: none });
  new Pool({ initializer: allOptional });
  new Pool({ initializer: rest });
  new Pool({ initializer: square, initArgs: [1] });
  new Pool({ initializer: optional, initArgs: [1, "x"] });
  new ThreadPool(4);
  new ThreadPool({ initializer: square, initArgs: [1] });
  const options: PoolOptions<[number]> = { initializer: square, initArgs: [1] };
  new Pool(options);
  const plain: PoolOptions = { processes: 2 };
  new Pool(plain);
  const threads: ThreadPoolOptions = { processes: 2 };
  new ThreadPool(threads);
  const initializer: InitializerOptions<[number]> = { initializer: square, initArgs: [1] };
  new Pool({ processes: 2, ...initializer });
  const pairs: ArgumentLists<[number, number], number[]> = [[1, 2]];
  void pairs;
  // @ts-expect-error: the argument of the initializer is missing
  new Pool({ initializer: square });
  // @ts-expect-error: the second argument of the initializer is missing
  new Pool({ initializer: asyncPair, initArgs: ["a"] });
  // @ts-expect-error: not a number
  new Pool({ initializer: square, initArgs: ["a"] });
  // @ts-expect-error: an unknown option
  new Pool({ workers: 3 });
  // @ts-expect-error: not a number
  new Pool({ processes: "2" });
  // @ts-expect-error: threads have no environment of their own
  new ThreadPool({ env: {} });
}

test("tsc has checked the types of the calls in this file", () => {
  expect([applyTypes, mapTypes, starmapTypes, optionTypes]).toHaveLength(4);
});
