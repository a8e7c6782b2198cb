/**
 * A large file of JSON lines, parsed on all cores with constant memory.
 *
 *   node examples/parse-large/main.js FILE.ndjson
 *
 * The program reads the file in chunks of whole lines. A worker parses each chunk and sums it up.
 * Reading waits while enough chunks are in flight, so memory use does not depend on the file's size.
 */

import { Buffer } from "node:buffer";
import { createReadStream } from "node:fs";
import process from "node:process";
import { fromModule, Pool } from "multiproc";

const PIECE = 1 << 20;
const NEWLINE = 10;

const { sumUp } = fromModule(new URL("./sum-up.js", import.meta.url));
const [file] = process.argv.slice(2);
if (!file) {
  console.error("Usage: main.js FILE.ndjson");
  process.exit(2);
}

const start = performance.now();
const pool = new Pool();
const total = new Map();
let lines = 0;
let invalid = 0;
for await (const part of pool.imap(sumUp, pieces(file), { bufferSize: 8 })) {
  lines += part.lines;
  invalid += part.invalid;
  for (const [country, { count, amount }] of part.sums) {
    const sum = total.get(country) ?? { count: 0, amount: 0 };
    total.set(country, { count: sum.count + count, amount: sum.amount + amount });
  }
}
pool.close();
await pool.join();

for (const [country, { count, amount }] of [...total].sort()) console.log(`${country}: ${count} orders, ${amount}`);
console.log(`${lines} lines, ${invalid} of them invalid`);
const peak = Math.round(process.memoryUsage().rss / 1e6);
console.error(`${((performance.now() - start) / 1000).toFixed(2)} s, ${peak} MB in this process`);

/** Yields the file as bytes, in chunks of whole lines. */
async function* pieces(path) {
  let rest = new Uint8Array();
  for await (const chunk of createReadStream(path, { highWaterMark: PIECE })) {
    const end = chunk.lastIndexOf(NEWLINE) + 1;
    if (end === 0) {
      rest = Buffer.concat([rest, chunk]); // a line longer than a chunk
      continue;
    }
    yield new Uint8Array(Buffer.concat([rest, chunk.subarray(0, end)]));
    rest = chunk.subarray(end);
  }
  if (rest.length > 0) yield new Uint8Array(rest);
}
