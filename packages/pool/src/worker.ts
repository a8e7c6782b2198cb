/** The entry point of a worker process; `thread.ts` is that of a worker thread. */
import { type Channel, childConfig, dial, type EndpointAddress, host } from "@multiproc/core/internal";
import { TaskLoop } from "./worker/task-loop.ts";

/** Runs a worker process until the pool stops it. */
export async function work(address: EndpointAddress): Promise<void> {
  // Ctrl+C signals the whole process group. The main program decides what happens to the work.
  host.onSignal("SIGINT", () => {});
  // Tasks may create pools and processes, which end with this worker.
  childConfig.mayHaveChildren = true;
  let channel: Channel;
  try {
    channel = await dial(address, "the pool", { shapes: "dictionary" });
  } catch {
    return; // the pool's process ended while this process was starting
  }
  await serve(channel);
}

/** Serves the pool at the other end of a channel until the pool stops this worker. */
export async function serve(channel: Channel): Promise<void> {
  const loop = new TaskLoop(channel);
  host.onExit(() => loop.finish());
  await loop.done;
}
