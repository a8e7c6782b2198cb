/**
 * Queues for any number of producers and consumers in any processes.
 *
 * The process that creates a {@link Queue} owns it. Other processes get it as an argument or inside
 * any value that is sent. Items come out in the order in which they went in, each once. When the
 * owner process ends, every wait rejects with a {@link QueueClosedError}.
 *
 * @module
 */
import { registerReviver } from "@multiproc/core/internal";
import type { RingAddress } from "./backend.ts";
import { JoinableQueue } from "./joinable-queue.ts";
import { Queue, type QueueKind } from "./queue.ts";
import { RemoteBackend } from "./remote-backend.ts";
import { SimpleQueue } from "./simple-queue.ts";

export type { BlockOptions, BlockSyncOptions, QueueState } from "./backend.ts";
export { QueueClosedError, QueueEmptyError, QueueFullError, QueueShutDownError, TasksLostError } from "./errors.ts";
export type { JoinableQueueOptions } from "./joinable-queue.ts";
export { JoinableQueue, Queue, SimpleQueue };

registerReviver("queue.Queue", (data) => {
  const [socketPath, token, ownerPid, maxSize, kind, ringAddress] = data as [
    string,
    string,
    number,
    number,
    QueueKind,
    RingAddress?,
  ];
  const backend = new RemoteBackend({
    endpoint: { socketPath, token },
    ownerPid,
    maxSize,
    ringAddress,
  }) as never;
  if (kind === "JoinableQueue") return new JoinableQueue(backend);
  const queue = new Queue(backend);
  return kind === "SimpleQueue" ? new SimpleQueue(queue) : queue;
});
