/** What a worker process does: see `protocol.ts`. */
import { type Channel, dial, type Frame, host, type Invitation, loadModules } from "@multiproc/core/internal";
import { running } from "./current-task.ts";
import { BROKEN, CANCEL, DONE, FAILED, INIT, LEAVE, READY, TASK, type TaskMessage } from "./protocol.ts";

/** Does the tasks of the pool that made the invitation, until it is told to leave or the pool is gone. */
export async function work(invitation: Invitation): Promise<void> {
  // Ctrl+C reaches all processes of a terminal: what it means for the workers is the parent's to say.
  host.onSignal("SIGINT", () => {});
  const channel = await dial(invitation, "the pool");
  const worker = new Worker(channel);
  await worker.done;
}

class Worker {
  readonly done: Promise<void>;
  readonly #channel: Channel;
  readonly #frames: Frame[] = [];
  #finish = (): void => {};
  #isBusy = false;
  #abort: AbortController | undefined;

  constructor(channel: Channel) {
    this.#channel = channel;
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
    channel.ref();
    channel.start({ message: (frame) => this.#take(frame), closed: () => this.#finish() });
  }

  #take(frame: Frame): void {
    if (frame.kind === CANCEL) return this.#abort?.abort(this.#channel.decode(frame));
    this.#frames.push(frame);
    if (!this.#isBusy) void this.#run();
  }

  async #run(): Promise<void> {
    this.#isBusy = true;
    for (let frame = this.#frames.shift(); frame !== undefined; frame = this.#frames.shift()) {
      if (frame.kind === LEAVE) return this.#finish();
      if (frame.kind === INIT) await this.#initialize(frame);
      else if (frame.kind === TASK) await this.#perform(frame);
      // With the system before the next task begins: if that ends this process, this one has been answered.
      this.#channel.flush();
    }
    this.#isBusy = false;
  }

  async #initialize(frame: Frame): Promise<void> {
    try {
      const [initializer, args] = (await this.#read(frame)) as [
        ((...args: unknown[]) => unknown) | undefined,
        unknown[],
      ];
      await initializer?.(...args);
      this.#channel.send(READY, undefined);
    } catch (error) {
      this.#channel.send(BROKEN, error);
    }
  }

  async #perform(frame: Frame): Promise<void> {
    const controller = new AbortController();
    this.#abort = controller;
    running.task = { signal: controller.signal };
    try {
      const [fn, way, inputs] = (await this.#read(frame)) as TaskMessage;
      const results = await callAll(fn as (...args: unknown[]) => unknown, way, inputs);
      this.#channel.send(DONE, results, way === "apply" ? "result" : "results");
    } catch (error) {
      this.#fail(error);
    } finally {
      running.task = this.#abort = undefined;
    }
  }

  #fail(error: unknown): void {
    try {
      this.#channel.send(FAILED, error, "error");
    } catch (sendError) {
      // What was thrown cannot be sent: that is told instead.
      this.#channel.send(FAILED, sendError);
    }
  }

  async #read(frame: Frame): Promise<unknown> {
    await loadModules(frame.modules);
    return this.#channel.decode(frame);
  }
}

async function callAll(
  fn: (...args: unknown[]) => unknown,
  way: TaskMessage[1],
  inputs: readonly unknown[],
): Promise<unknown> {
  if (way === "apply") return fn(...inputs);
  const results: unknown[] = [];
  for (const input of inputs) {
    const result = way === "map" ? fn(input) : fn(...(input as unknown[]));
    // Awaiting what is no promise would cost each of many small calls a turn.
    results.push(isThenable(result) ? await result : result);
  }
  return results;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
