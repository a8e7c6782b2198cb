// The files of a tree, and their distribution into batches.
import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** Size of a batch: large enough to be worth a message, small enough that all cores end together. */
const BATCH_BYTES = 1_000_000;

/** Returns every regular file below `root`, and the folders that could not be read. */
export function filesOf(root) {
  const files = [];
  const unreadable = [];
  const enter = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      try {
        if (entry.isDirectory()) enter(path);
        else if (entry.isFile()) files.push({ path, size: lstatSync(path).size });
      } catch (error) {
        unreadable.push([path, error.code ?? error.message]);
      }
    }
  };
  enter(root);
  return { files, unreadable };
}

/** Returns the paths of `files` in batches of similar size. The largest come first, so that none is left for the end. */
export function batchesOf(files) {
  const batches = [];
  let batch = [];
  let bytes = 0;
  for (const { path, size } of [...files].sort((a, b) => b.size - a.size)) {
    batch.push(path);
    bytes += size;
    if (bytes >= BATCH_BYTES || batch.length >= 200) {
      batches.push(batch);
      batch = [];
      bytes = 0;
    }
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}
