/**
 * Measures the codec against msgpackr, v8.serialize and JSON, in one process, in turns.
 *
 *   npm run build && node packages/core/bench/codec.mjs [--rounds=15] [--json] [part of a case's name …]
 *   npx deno run -A packages/core/bench/codec.mjs
 *
 * Each competitor encodes a batch of different values and decodes the messages, as on a channel.
 * All competitors run in every round. The table shows the medians of the rounds in nanoseconds for
 * one value, and the middle half of the rounds.
 */
import os from "node:os";
import process from "node:process";
import v8 from "node:v8";
import { task } from "@multiproc/core";
import { ByteWriter, Decoder, Encoder, registry } from "@multiproc/core/internal";
import { Packr } from "msgpackr";

const flags = process.argv.slice(2);
const rounds = Number(flags.find((flag) => flag.startsWith("--rounds="))?.slice(9) ?? 15);
const printsJson = flags.includes("--json");
// `npm run bench` runs a few representative cases.
const jsonCases = printsJson ? ["{id,x}", "nested", "100 rows", "1000 doubles"] : [];
const chosen = [...flags.filter((flag) => !flag.startsWith("--")), ...jsonCases];
const rows = [];

const words = Array.from({ length: 100 }, (_, i) => `name-${i}`);
const work = task(import.meta.url, function work() {});
registry.modules.set(import.meta.url, { work });

const mixed = [
  (i) => ({ id: i & 127, x: 2 }),
  (i) => ({ name: "n", value: i & 127 }),
  (i) => ({ a: i & 127, b: 1, c: 2 }),
  (i) => ({ left: i & 127, top: 1, right: 2, bottom: 3 }),
  (i) => ({ kind: "move", id: i & 127 }),
  (i) => ({ key: "k", at: i & 127, ttl: 5, ok: true, note: null }),
];

const cases = {
  "{id,x}": (i) => ({ id: i & 1023, x: i & 63 }),
  "{id,x} with doubles": (i) => ({ id: i & 1023, x: (i & 63) + 0.5 }),
  "six shapes in turn": (i) => mixed[i % 6](i),
  "task [id,fn,[x]]": (i) => [i & 1023, "square", [i & 63]],
  "task {id,fn,args,kw}": (i) => ({ id: i & 1023, fn: "square", args: [i & 63], kw: {} }),
  nested: (i) => ({
    user: { id: i, name: "Ada Lovelace", tags: ["a", "b"] },
    pos: { x: 1.5, y: 2.5 },
    ok: true,
    none: null,
  }),
  "100 rows": (i) =>
    Array.from({ length: 100 }, (_, j) => ({ id: j, name: words[j], score: j / 3, ok: (i & 1) === 0 })),
  number: (i) => i & 0xffff,
  "10 characters": (i) => words[i % 100].padEnd(10, "x"),
  "30 characters": (i) => words[i % 100].padEnd(30, "x"),
  "10 characters, é": (i) => words[i % 10].padEnd(10, "é"),
  "30 characters, 日本": (i) => words[i % 10].padEnd(30, "日本"),
  "1000 characters": (i) => words[i % 100].padEnd(1000, "x"),
  "100 short strings": () => words.slice(),
  "100 strings of 30": () => words.map((word) => word.padEnd(30, "x")),
  "1000 ints": (i) => Array.from({ length: 1000 }, (_, j) => j + i),
  "1000 doubles": (i) => Array.from({ length: 1000 }, (_, j) => j + i + 0.5),
  "Map of 10": (i) => new Map(words.slice(0, 10).map((word, j) => [word, i + j])),
};

const competitors = {
  dictionary: multiprocCodec({ shapes: "dictionary" }),
  inline: multiprocCodec({}),
  "msgpackr pack": msgpackr({ useRecords: false }),
  "msgpackr records": msgpackr({}),
  "msgpackr sequential": msgpackr({ sequential: true }),
  // On Deno this takes gigabytes that are not collected in time, so it runs fewer times.
  "v8.serialize": { begin() {}, encode: v8.serialize, decode: v8.deserialize, share: globalThis.Deno ? 0.02 : 1 },
  JSON: { begin() {}, encode: JSON.stringify, decode: JSON.parse },
};

printHead();
for (const [name, make] of Object.entries(cases)) {
  const isChosen = printsJson ? chosen.includes(name) : chosen.some((part) => name.includes(part));
  if (chosen.length === 0 || isChosen) print(name, compete(make, name));
}
printFunctions();
if (printsJson) console.log(JSON.stringify(rows));

/**
 * Writes messages one after the other into one ByteWriter, as a channel does, and keeps the end of
 * each.
 */
function multiprocCodec(options, root) {
  const encoder = new Encoder(options);
  const decoder = new Decoder();
  const writer = new ByteWriter(65536);
  let start = 0;
  return {
    begin() {
      writer.position = start = 0;
    },
    encode(value) {
      encoder.encode(value, writer, root);
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
  const packr = new Packr({ ...options, moreTypes: true });
  const unpackr = new Packr({ ...options, moreTypes: true });
  return { begin() {}, encode: (value) => packr.pack(value), decode: (bytes) => unpackr.unpack(bytes) };
}

/**
 * Returns the medians of encoding, decoding and both for each competitor, and the spread of both.
 */
function compete(make, title) {
  const jsonLength = JSON.stringify(make(0))?.length ?? 10;
  const values = Array.from({ length: jsonLength > 1000 ? 8 : 64 }, (_, i) => make(i));
  const times = Math.ceil(1_000_000 / ((jsonLength + 40) * values.length));
  const results = new Map(Object.keys(competitors).map((name) => [name, []]));
  for (let round = -3; round < rounds; round++) {
    // Each round has another order, so that no competitor always pays for the garbage of the same
    // predecessor.
    const names = shuffled(Object.keys(competitors), round + 3);
    for (const name of names) {
      const { share = 1 } = competitors[name];
      const result = measure(competitors[name], values, Math.ceil((round < 0 ? times * 3 : times) * share));
      if (round >= 0) results.get(name).push(result);
    }
  }
  for (const [name, list] of results) {
    const who = { dictionary: "multiproc", inline: "multiproc, no dictionary" }[name] ?? name;
    const values = list.map(([encode, decode]) => encode + decode);
    rows.push({ case: `Codec: ${title}, encoded and decoded`, who, unit: "ns", values });
  }
  return new Map([...results].map(([name, list]) => [name, summary(list)]));
}

/** Shuffles a list, in the same way in every run. */
function shuffled(list, round) {
  const keyed = list.map((item, i) => [Math.sin((round + 1) * 12.9898 + i * 78.233) * 43758.5453, item]);
  return keyed.sort(([a], [b]) => a - Math.floor(a) - (b - Math.floor(b))).map(([, item]) => item);
}

/** Returns the nanoseconds for encoding and for decoding one value. */
function measure({ begin, encode, decode }, values, times) {
  const out = new Array(values.length);
  let encoding = 0;
  let decoding = 0;
  for (let t = 0; t < times; t++) {
    begin();
    const start = performance.now();
    for (let i = 0; i < values.length; i++) out[i] = encode(values[i]);
    const middle = performance.now();
    for (let i = 0; i < values.length; i++) out[i] = decode(out[i]);
    encoding += middle - start;
    decoding += performance.now() - middle;
  }
  const scale = 1e6 / (times * values.length);
  return [encoding * scale, decoding * scale];
}

function summary(list) {
  const quantile = (q, pick) => {
    const sorted = list.map(pick).sort((a, b) => a - b);
    return sorted[Math.floor((sorted.length - 1) * q)];
  };
  const both = ([encode, decode]) => encode + decode;
  return {
    encode: quantile(0.5, ([encode]) => encode),
    decode: quantile(0.5, ([, decode]) => decode),
    both: quantile(0.5, both),
    low: quantile(0.25, both),
    high: quantile(0.75, both),
  };
}

function printHead() {
  const deno = globalThis.Deno?.version;
  const host = deno ? `Deno ${deno.deno} (V8 ${deno.v8})` : `Node ${process.version} (V8 ${process.versions.v8})`;
  console.log(`${host}, ${os.availableParallelism()} × ${os.cpus()[0]?.model}, ${os.platform()} ${os.arch()}`);
  console.log(
    `Medians of ${rounds} rounds in ns: encode + decode = both (middle half); then how often "dictionary" does both`,
  );
}

function print(name, results) {
  console.log(`\n${name}`);
  const own = results.get("dictionary").both;
  const show = (number, width) => number.toFixed(0).padStart(width);
  for (const [competitor, { encode, decode, both, low, high }] of results) {
    const times = `${show(encode, 7)} + ${show(decode, 7)} = ${show(both, 7)}`;
    const spread = `(${show(low, 0)}–${show(high, 0)})`;
    console.log(`  ${competitor.padEnd(20)}${times}  ${spread.padEnd(17)} ${(both / own).toFixed(1)}×`);
  }
}

/**
 * Measures a message with a function, which no competitor can send: as an ordinary array, and as a
 * tuple.
 */
function printFunctions() {
  if (chosen.length > 0 && !chosen.includes("function")) return;
  const tasks = Array.from({ length: 64 }, (_, i) => [i, work, i]);
  const results = new Map([
    ["dictionary", multiprocCodec({ shapes: "dictionary" })],
    ["as a tuple", multiprocCodec({ shapes: "dictionary" }, ["id", "fn", "x"])],
  ]);
  for (const [name, competitor] of results) {
    const list = Array.from({ length: rounds + 3 }, () => measure(competitor, tasks, 300));
    results.set(name, summary(list.slice(3)));
  }
  print("task [id,fn,x] with a function", results);
}
