/**
 * Queues for any number of producers and consumers in any processes.
 *
 * A {@link Queue} lives in the process that made it, its home, and is given to others as an argument or inside any value
 * that is sent. Items come out in the order in which they went in, each once. When the home process ends, everyone who
 * waits gets a {@link QueueClosedError}.
 *
 * @module
 */
export { QueueClosedError, QueueEmptyError, QueueFullError, QueueShutDownError, TasksLostError } from "./errors.ts";
export type { BlockOptions } from "./link.ts";
export { JoinableQueue, Queue, SimpleQueue } from "./queue.ts";
