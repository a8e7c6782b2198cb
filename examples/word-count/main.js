/**
 * Counts the words and the gzip size of every text file of a tree on all cores, and checks the result
 * against one process.
 *
 *   npm start                  the installed packages
 *   npm start -- DIRECTORY     any other tree
 */
import { resolve } from "node:path";
import process from "node:process";
import { Pool } from "@multiproc/pool";
import { cpuCount } from "@multiproc/process";
import { batchesOf, filesOf } from "./files.js";
import { display } from "./progress.js";
import { measure } from "./tasks.js";

const directory = resolve(process.argv[2] ?? "node_modules");
// The workers end with this process, so exiting quietly is enough.
process.on("SIGINT", () => process.exit(130));

const { files, unreadable } = listed(directory);
const batches = batchesOf(files);
console.log(`${files.length} files in ${directory}, ${cpuCount()} CPUs`);

const together = await timed(inPool);
const alone = await timed(inOneProcess);
report(together, alone);

/** Runs each batch as a task and adds up the results as they arrive. */
async function inPool() {
  const progress = display(files.length);
  const results = [];
  const pool = new Pool();
  for await (const result of pool.imapUnordered(measure, batches)) {
    results.push(result);
    progress.add(result.files + result.binary + result.unreadable.length);
  }
  progress.stop();
  await pool.terminate();
  return results;
}

async function inOneProcess() {
  const results = [];
  for (const batch of batches) {
    results.push(measure(batch));
    await new Promise((resolve) => setTimeout(resolve)); // lets Ctrl+C through between two batches
  }
  return results;
}

function report(together, alone) {
  const result = merged(together.value);
  for (const [path, reason] of [...unreadable, ...result.unreadable]) console.error(`Not read: ${path} (${reason})`);
  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
  console.log(
    `${result.files} text files, ${megabytes(result.bytes)}, ${megabytes(result.gzipBytes)} with gzip, ${result.words} words`,
  );
  console.log(
    `The most frequent: ${mostFrequent(result.counts, 10)
      .map(([word, n]) => `${word} ${n}`)
      .join(", ")}`,
  );
  console.log(
    `With a pool ${seconds(together)}, in one process ${seconds(alone)}: ${(alone.time / together.time).toFixed(2)} times as fast`,
  );
  const difference = differenceOf(result, merged(alone.value));
  if (difference === undefined) return console.log("Both came to the same result");
  console.error(`The results differ: ${difference}`);
  process.exitCode = 1;
}

function listed(root) {
  try {
    return filesOf(root);
  } catch (error) {
    console.error(`Cannot list "${root}": ${error.code === "ENOENT" ? "there is no such directory" : error.message}`);
    process.exit(2);
  }
}

function merged(results) {
  const sum = { files: 0, bytes: 0, gzipBytes: 0, words: 0, counts: new Map(), unreadable: [] };
  for (const result of results) {
    for (const field of ["files", "bytes", "gzipBytes", "words"]) sum[field] += result[field];
    for (const [i, word] of result.different.entries())
      sum.counts.set(word, (sum.counts.get(word) ?? 0) + result.counts[i]);
    sum.unreadable.push(...result.unreadable);
  }
  return sum;
}

function mostFrequent(counts, n) {
  return [...counts].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).slice(0, n);
}

function differenceOf(a, b) {
  for (const field of ["files", "bytes", "gzipBytes", "words"])
    if (a[field] !== b[field]) return `${field} ${a[field]} and ${b[field]}`;
  for (const [word, n] of a.counts) if (b.counts.get(word) !== n) return `"${word}" ${n} and ${b.counts.get(word)}`;
  return a.counts.size === b.counts.size ? undefined : "the words";
}

async function timed(run) {
  const start = performance.now();
  const value = await run();
  return { value, time: performance.now() - start };
}

function seconds({ time }) {
  return `${(time / 1000).toFixed(2)} s`;
}
