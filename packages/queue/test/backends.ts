import { handleOf } from "@multiproc/core/internal";
import type { Queue } from "@multiproc/queue";

/** What has no place in memory. */
export const TOO_LARGE_BYTES: number = 8 * 1024 ** 2 + 1;

/** Has the home keep the items of an empty queue itself, as where memory cannot be shared. */
export async function inBroker<T>(queue: Queue<T>): Promise<Queue<T>> {
  handleOf(queue); // from now on the items would be in memory
  await queue.put(new Uint8Array(TOO_LARGE_BYTES) as T);
  await queue.get();
  return queue;
}
