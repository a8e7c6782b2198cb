// The stages: each takes from one queue and puts into the next.
import { createHash } from "node:crypto";
import { QueueShutDownError } from "multiproc";

/** Makes documents until there are enough, or nobody wants more. */
export async function readAll(count, documents) {
  try {
    for (let number = 0; number < count; number++) {
      // A reader of a real source would wait for it here.
      await documents.put({ number, text: `document ${number} `.repeat(500) });
    }
  } catch (error) {
    if (!(error instanceof QueueShutDownError)) throw error;
    return;
  }
  await documents.shutdown();
}

/** Takes documents until there will be no more. */
export async function hashAll(documents, hashes) {
  for await (const { number, text } of documents) {
    await hashes.put({ number, hash: createHash("sha256").update(text).digest("hex") });
  }
}
