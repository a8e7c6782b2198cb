// The stages. Each takes from one queue and puts into the next.
import { createHash } from "node:crypto";
import { QueueShutDownError } from "multiproc";

/** Makes documents until there are enough, or until the next queue is shut down. */
export async function readAll(count, documents) {
  try {
    for (let number = 0; number < count; number++) {
      // A reader of a real source would wait here.
      await documents.put({ number, text: `document ${number} `.repeat(500) });
    }
  } catch (error) {
    if (!(error instanceof QueueShutDownError)) throw error;
    return;
  }
  await documents.shutdown();
}

/** Takes documents until the queue is shut down and empty. */
export async function hashAll(documents, hashes) {
  for await (const { number, text } of documents) {
    await hashes.put({ number, hash: createHash("sha256").update(text).digest("hex") });
  }
}
