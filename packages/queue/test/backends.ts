import { handleOf } from "@multiproc/core/internal";
import type { Queue } from "@multiproc/queue";

/** The size of an item that does not fit into shared memory. */
export const TOO_LARGE_BYTES: number = 8 * 1024 ** 2 + 1;

/** Moves the items of an empty queue to the broker, as if the system had no shared memory. */
export async function inBroker<T>(queue: Queue<T>): Promise<Queue<T>> {
  handleOf(queue); // moves the items into shared memory
  await queue.put(new Uint8Array(TOO_LARGE_BYTES) as T);
  await queue.get();
  return queue;
}
