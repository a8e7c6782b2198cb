// Speed of the codec against msgpackr, v8.serialize and JSON, in one process, taking turns.
//
//   npm run build && node packages/core/bench/codec.mjs [--rounds=9] [case …]
//   npx deno run -A packages/core/bench/codec.mjs
//
// Each competitor encodes into memory that it owns and decodes from there, as a channel would. All take turns in every
// round; a table holds the medians over the rounds, in nanoseconds, with the spread (the middle half of the rounds).
import os from "node:os";
import v8 from "node:v8";
import { task } from "@multiproc/core";
import { ByteWriter, Decoder, Encoder, registry } from "@multiproc/core/internal";
import { Packr, Unpackr } from "msgpackr";

const flags = process.argv.slice(2);
const rounds = Number(flags.find((flag) => flag.startsWith("--rounds="))?.slice(9) ?? 9);
const chosen = flags.filter((flag) => !flag.startsWith("--"));

const words = Array.from({ length: 100 }, (_, i) => `name-${i}`);
const target = task(import.meta.url, function work() {});
registry.modules.set(import.meta.url, { work: target });

/** Each case makes a new value each time, so that nobody profits from having seen the very same object. */
const cases = {
  "{id,x}": (i) => ({ id: i & 1023, x: (i & 63) + 0.5 }),
  "{id,x} ints": (i) => ({ id: i & 1023, x: i & 63 }),
  "task [id,fn,[args]]": (i) => [i & 1023, "square", [i & 63]],
  "task {id,fn,args,kw}": (i) => ({ id: i & 1023, fn: "square", args: [i & 63], kw: {} }),
  nested: (i) => ({
    user: { id: i, name: "Ada Lovelace", tags: ["a", "b"] },
    pos: { x: 1.5, y: 2.5 },
    ok: true,
    none: null,
  }),
  "100 rows": (i) =>
    Array.from({ length: 100 }, (_, j) => ({ id: j, name: words[j], score: j / 3, ok: (i & 1) === 0 })),
  "six shapes": (i) => mixed[i % 6](i),
  number: (i) => i & 0xffff,
  "10 chars": (i) => words[i % 100].padEnd(10, "x"),
  "30 chars": (i) => words[i % 100].padEnd(30, "x"),
  "10 chars, not ASCII": (i) => words[i % 10].padEnd(10, "é"),
  "30 chars, not ASCII": (i) => words[i % 10].padEnd(30, "日本"),
  "1000 chars": (i) => words[i % 100].padEnd(1000, "x"),
  "100 short strings": () => words.slice(),
  "100 strings of 30": () => words.map((word) => word.padEnd(30, "x")),
  "1000 ints": (i) => Array.from({ length: 1000 }, (_, j) => j + i),
  "1000 doubles": (i) => Array.from({ length: 1000 }, (_, j) => j + i + 0.5),
};
const mixed = [
  (i) => ({ id: i & 127, x: 2 }),
  (i) => ({ name: "n", value: i & 127 }),
  (i) => ({ a: i & 127, b: 1, c: 2 }),
  (i) => ({ left: i & 127, top: 1, right: 2, bottom: 3 }),
  (i) => ({ kind: "move", id: i & 127 }),
  (i) => ({ key: "k", at: i & 127, ttl: 5, ok: true, note: null }),
];

const competitors = {
  dictionary: ours("dictionary"),
  inline: ours("inline"),
  "msgpackr pack": msgpackr({ useRecords: false }),
  "msgpackr records": msgpackr({}),
  "msgpackr sequential": msgpackr({ sequential: true }),
  v8: { begin() {}, encode: v8.serialize, decode: v8.deserialize },
  JSON: { begin() {}, encode: JSON.stringify, decode: JSON.parse },
};

/** Messages lie one behind the other in one writer, as on a channel; where each ends is noted. */
function ours(shapes) {
  const encoder = new Encoder({ shapes });
  const decoder = new Decoder();
  const writer = new ByteWriter(65536);
  let start = 0;
  return {
    begin() {
      writer.position = start = 0;
    },
    encode(value) {
      encoder.encode(value, writer);
      return writer.position;
    },
    decode(end) {
      const value = decoder.decode(writer.bytes, start, end, encoder.parts);
      start = end;
      return value;
    },
  };
}

function msgpackr(options) {
  const packr = new Packr(options);
  const unpackr = new Unpackr(options);
  return { begin() {}, encode: (value) => packr.pack(value), decode: (bytes) => unpackr.unpack(bytes) };
}

/** Nanoseconds for encoding and for decoding one value, over a batch of different ones. */
function measure({ begin, encode, decode }, values, times) {
  const out = new Array(values.length);
  let encoding = 0;
  let decoding = 0;
  for (let t = 0; t < times; t++) {
    begin();
    const start = performance.now();
    for (let i = 0; i < values.length; i++) out[i] = encode(values[i]);
    const middle = performance.now();
    for (let i = 0; i < values.length; i++) globalThis.kept = decode(out[i]);
    const end = performance.now();
    encoding += middle - start;
    decoding += end - middle;
  }
  const scale = 1e6 / (times * values.length);
  return [encoding * scale, decoding * scale];
}

/** Keeps the optimizer from leaving the work out. */
globalThis.kept = undefined;

function quantile(sorted, q) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
}

/** Medians of encoding, decoding and both for each competitor, and the spread of both. */
function compete(make) {
  const sample = make(0);
  const heavy = JSON.stringify(sample)?.length ?? 10;
  const values = Array.from({ length: heavy > 1000 ? 8 : 64 }, (_, i) => make(i));
  const names = Object.keys(competitors);
  const results = new Map(names.map((name) => [name, []]));
  const times = Math.max(2, Math.ceil((heavy > 1000 ? 300_000 : 1_500_000) / (heavy * values.length + 2000)));
  for (let round = -2; round < rounds; round++) {
    // Each round begins with another one, so that nobody always runs behind the same neighbour.
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round + 2) % names.length];
      const result = measure(competitors[name], values, round < 0 ? times * 4 : times);
      if (round >= 0) results.get(name).push(result);
    }
  }
  return new Map(
    [...results].map(([name, list]) => {
      const column = (pick) => list.map(pick).sort((a, b) => a - b);
      const both = column(([a, b]) => a + b);
      return [
        name,
        {
          encode: quantile(
            column(([a]) => a),
            0.5,
          ),
          decode: quantile(
            column(([, b]) => b),
            0.5,
          ),
          both: quantile(both, 0.5),
          low: quantile(both, 0.25),
          high: quantile(both, 0.75),
        },
      ];
    }),
  );
}

const runtime = globalThis.Deno
  ? `Deno ${Deno.version.deno} (V8 ${Deno.version.v8})`
  : `Node ${process.version} (V8 ${process.versions.v8})`;
console.log(
  `${runtime}, ${os.availableParallelism()} × ${os.cpus()[0]?.model ?? "unknown CPU"}, ${os.platform()} ${os.arch()}, ${rounds} rounds`,
);
console.log(
  "Nanoseconds: encode + decode = both (spread). In brackets how many times the dictionary mode is faster.\n",
);
for (const [name, make] of Object.entries(cases)) {
  if (chosen.length > 0 && !chosen.some((part) => name.includes(part))) continue;
  console.log(name);
  const results = compete(make);
  const own = results.get("dictionary").both;
  for (const [competitor, { encode, decode, both, low, high }] of results) {
    const n = (number, width) => number.toFixed(0).padStart(width);
    console.log(
      `${`  ${competitor.padEnd(20)} ${n(encode, 7)} + ${n(decode, 7)} = ${n(both, 7)}  (${n(low, 0)}–${n(high, 0)})`.padEnd(
        66,
      )} [${(both / own).toFixed(1)}×]`,
    );
  }
}
