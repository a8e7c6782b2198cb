/**
 * Thumbnails of all images of a folder, made on all cores.
 *
 *   node examples/thumbnails/main.js IMAGES THUMBNAILS
 *
 * The program reads the folder only as fast as workers make thumbnails. A file that is not an image
 * is reported at the end and does not stop the others.
 */
import { mkdirSync } from "node:fs";
import { opendir } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fromModule, Pool } from "multiproc";

/** Only the workers load sharp. */
const { thumbnail } = fromModule(new URL("./thumbnail.js", import.meta.url));
const [from, to] = process.argv.slice(2);
if (!from || !to) {
  console.error("Usage: main.js IMAGES THUMBNAILS");
  process.exit(2);
}

mkdirSync(to, { recursive: true });
const pool = new Pool();
const failures = [];
let done = 0;
let bytes = 0;
for await (const { path, size, error } of pool.imapUnordered(thumbnail, jobs(from, to), { bufferSize: 32 })) {
  if (error) failures.push(`${path}: ${error.message}`);
  else bytes += size;
  done += 1;
  if (process.stdout.isTTY) process.stdout.write(`\r${done} images `);
}
pool.close();
await pool.join();

console.log(`${done - failures.length} thumbnails, ${bytes} bytes`);
for (const failure of failures) console.error(failure);
process.exitCode = failures.length > 0 ? 1 : 0;

/** Yields the jobs. It reads the folder on demand, as the pool asks for the next job. */
async function* jobs(folder, target) {
  for await (const entry of await opendir(folder))
    if (entry.isFile()) yield { path: join(folder, entry.name), target: join(target, `${entry.name}.webp`) };
}
