/** Property tests, which compare the codec with structured clone. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Decoder } from "../src/codec/decode/decoder.ts";
import { Encoder } from "../src/codec/encode/encoder.ts";
import { difference, receive, send, trip } from "./fixtures/codec.ts";
import { Random } from "./fixtures/random.ts";

const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.string({ maxLength: 12 }),
  fc.constantFrom("__proto__", "constructor", "toString", "0", "17", "4294967295", "", "id", "name"),
  fc.array(fc.integer({ min: 0xd7f0, max: 0xe010 }), { maxLength: 80 }).map((units) => String.fromCharCode(...units)),
  fc
    .tuple(fc.string({ unit: "binary", minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 120 }))
    .map(([unit, n]) => unit.repeat(n)),
);
const number = fc.oneof(
  fc.integer(),
  fc.double(),
  fc.integer({ min: -200, max: 200 }),
  fc.constantFrom(-0, 2 ** 31, -(2 ** 31), 2 ** 53),
);
const kinds = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  DataView,
];
const leaf = fc.oneof(
  { weight: 4, arbitrary: text },
  { weight: 4, arbitrary: number },
  fc.constantFrom(undefined, null, true, false),
  fc.bigInt(),
  fc.date({ noInvalidDate: false }),
  fc.constantFrom(/a+/g, /[é/]/u, /(?:)/).map((pattern) => new RegExp(pattern)),
  fc.oneof(number, text, fc.boolean(), fc.bigInt()).map((primitive) => Object(primitive) as object),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => bytes.buffer),
  fc
    .tuple(fc.constantFrom(...kinds), fc.uint8Array({ minLength: 16, maxLength: 40 }))
    .map(([kind, bytes]) => new (kind as Uint8ArrayConstructor)(bytes.buffer.slice(0, 16))),
);

type Draft = {
  kind: "array" | "numbers" | "strings" | "object" | "map" | "set";
  keys: string[];
  values: unknown[];
  holes: number[];
};

/** Creates a container from a draft, with holes and properties. */
function build({ kind, keys, values, holes }: Draft): object {
  if (kind === "map")
    return new Map(values.map((value, i) => [i % 3 === 0 ? (keys[i] ?? value) : value, values[values.length - 1 - i]]));
  if (kind === "set") return new Set(values);
  if (kind === "object") {
    const object = {};
    for (const [i, key] of keys.entries())
      Object.defineProperty(object, key, { value: values[i], writable: true, enumerable: true, configurable: true });
    return object;
  }
  const array = values.slice();
  for (const hole of holes) delete array[hole];
  if (keys.length % 4 === 3)
    for (const key of keys) if (key !== "__proto__") (array as unknown as Record<string, unknown>)[key] = key.length;
  return array;
}

const anything = fc.letrec<{ tree: unknown; container: object }>((tie) => ({
  tree: fc.oneof({ depthSize: "medium", withCrossShrink: true }, leaf, tie("container")),
  container: fc
    .oneof(
      fc.record({
        kind: fc.constantFrom("array" as const, "object" as const, "map" as const, "set" as const),
        keys: fc.uniqueArray(text, { maxLength: 12 }),
        values: fc.array(tie("tree"), { maxLength: 14 }),
        holes: fc.oneof(fc.constant([]), fc.array(fc.nat(20), { maxLength: 4 })),
      }),
      fc.record({
        kind: fc.constant("numbers" as const),
        keys: fc.constant([]),
        values: fc.array(number, { maxLength: 40 }),
        holes: fc.oneof(fc.constant([]), fc.array(fc.nat(20), { maxLength: 2 })),
      }),
      fc.record({
        kind: fc.constant("strings" as const),
        keys: fc.constant([]),
        values: fc.array(text, { maxLength: 40 }),
        holes: fc.constant([]),
      }),
    )
    .map((draft) => build(draft as Draft)),
})).tree;

/** Returns every object in a value that can contain others. */
function containersOf(value: unknown, found: Set<object> = new Set()): Set<object> {
  if (typeof value !== "object" || value === null || found.has(value)) return found;
  const inside =
    value instanceof Map
      ? [...value].flat()
      : value instanceof Set
        ? [...value]
        : Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype
          ? Object.values(value)
          : undefined;
  if (inside === undefined) return found;
  found.add(value);
  for (const each of inside) containersOf(each, found);
  return found;
}

/** Puts containers into each other, which creates shared references and cycles. */
function link(value: unknown, links: [number, number][]): unknown {
  const containers = [...containersOf(value)];
  if (containers.length === 0) return value;
  for (const [from, to] of links) {
    const target = containers[to % containers.length];
    const holder = containers[from % containers.length];
    if (holder instanceof Map) holder.set(from % 2 === 0 ? target : "link", target);
    else if (holder instanceof Set) holder.add(target);
    else if (Array.isArray(holder)) holder.push(target);
    else Object.assign(holder as object, { [`link${to}`]: target });
  }
  return value;
}

const graph = fc
  .tuple(anything, fc.array(fc.tuple(fc.nat(30), fc.nat(30)), { maxLength: 6 }))
  .map(([value, links]) => link(value, links));

test("any value arrives as structured clone copies it", () => {
  fc.assert(
    fc.property(graph, (value) => {
      expect(difference(trip(value), structuredClone(value))).toBe(undefined);
    }),
    { numRuns: 6000, seed: 1 },
  );
});

test("a sequence of any values arrives through one encoder and one decoder with a dictionary", () => {
  fc.assert(
    fc.property(fc.array(graph, { minLength: 1, maxLength: 10 }), (values) => {
      const encoder = new Encoder({ shapes: "dictionary" });
      const decoder = new Decoder();
      for (const value of [...values, ...values, ...values]) {
        expect(difference(receive(send(value, encoder), decoder), structuredClone(value))).toBe(undefined);
      }
    }),
    { numRuns: 300, seed: 2 },
  );
});

test("the next message arrives after a value that cannot be sent", () => {
  fc.assert(
    fc.property(graph, graph, fc.nat(30), (bad, good, where) => {
      const containers = [...containersOf(bad)];
      const holder = containers[where % Math.max(1, containers.length)];
      const value = holder === undefined ? [bad, Symbol()] : link(bad, [[where, where]]);
      if (holder instanceof Map) holder.set("bad", () => 1);
      else if (holder instanceof Set) holder.add(() => 1);
      else if (holder !== undefined) Object.assign(holder, { bad: () => 1 });
      const encoder = new Encoder({ shapes: "dictionary" });
      const decoder = new Decoder();
      for (let i = 0; i < 3; i++) {
        expect(() => send(value, encoder)).toThrow("Cannot send value at value");
        expect(difference(receive(send([good, { i }], encoder), decoder), [structuredClone(good), { i }])).toBe(
          undefined,
        );
      }
    }),
    { numRuns: 300, seed: 3 },
  );
});

test("10,000 random messages arrive through one encoder and one decoder", () => {
  const random = new Random(4);
  const keys = Array.from({ length: 40 }, (_, i) => `key${i}`);
  const make = (depth: number): unknown => {
    const kind = random.below(depth > 3 ? 4 : 7);
    if (kind === 0) return random.below(1000) - 500;
    if (kind === 1) return random.pick(keys);
    if (kind === 2) return random.below(1e9) / 7;
    if (kind === 3) return random.pick([null, undefined, true, "é", 5n]);
    const inside = Array.from({ length: random.below(6) }, () => make(depth + 1));
    if (kind === 4) return inside;
    if (kind === 5) return Object.fromEntries(inside.map((value) => [random.pick(keys), value]));
    return random.below(2) === 0 ? new Set(inside) : { type: random.pick(keys), body: inside[0] };
  };
  const encoder = new Encoder({ shapes: "dictionary" });
  const decoder = new Decoder();
  for (let i = 0; i < 10_000; i++) {
    const value = make(0);
    const found = difference(receive(send(value, encoder), decoder), value);
    if (found !== undefined) expect(found, `message ${i}`).toBe(undefined);
  }
});
