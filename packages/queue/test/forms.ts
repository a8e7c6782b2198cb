import type { Queue } from "@multiproc/queue";

/** Has the home keep the items of an empty queue itself, as where memory cannot be shared. */
export async function atHome<T>(queue: Queue<T>): Promise<Queue<T>> {
  queue["multiproc:ticket"](); // from now on the items would be in memory
  await queue.put("x".repeat(100_000) as T);
  await queue.get();
  return queue;
}
