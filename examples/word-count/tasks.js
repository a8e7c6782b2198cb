// What a worker does with a batch of files.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { task } from "@multiproc/core";

/** Counts the words of the text files among `paths`, and the bytes that these take with gzip. */
export const measure = task(import.meta.url, function measure(paths) {
  const result = { files: 0, binary: 0, bytes: 0, gzipBytes: 0, words: 0, counts: new Map(), unreadable: [] };
  for (const path of paths) {
    try {
      add(result, readFileSync(path));
    } catch (error) {
      result.unreadable.push([path, error.code ?? error.message]);
    }
  }
  return result;
});

function add(result, content) {
  if (content.subarray(0, 8000).includes(0)) {
    result.binary += 1;
    return;
  }
  result.files += 1;
  result.bytes += content.length;
  result.gzipBytes += gzipSync(content).length;
  for (const [word] of content.toString("utf8").matchAll(/\p{L}+/gu)) {
    result.words += 1;
    result.counts.set(word, (result.counts.get(word) ?? 0) + 1);
  }
}
