/** A worker as the pool sees it. */
import { fromModule, StartError, type Target } from "@multiproc/core";
import {
  type Channel,
  type EncodedMessage,
  type Frame,
  type Invitation,
  invite,
  revoke,
} from "@multiproc/core/internal";
import { Process, type ProcessOptions } from "@multiproc/process";
import { BROKEN, CANCEL, INIT, LEAVE, READY, TASK } from "./protocol.ts";

const { work } = fromModule<{ work: Target<(invitation: Invitation) => Promise<void>> }>(
  new URL(`./worker${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url),
);

/** What a worker tells its pool. */
export interface WorkerHandlers {
  ready(): void;
  /** The answer to the first task that has none. */
  answer(frame: Frame): void;
  /** The initializer failed. */
  broken(error: unknown): void;
  /** The worker is gone, and all that it sent has been told; `error` says why it never was ready. */
  gone(error: unknown): void;
}

/** A worker process and the channel to it. */
export class WorkerLink {
  readonly process: Process<[Invitation]>;
  isReady = false;
  /** How many tasks it was sent. */
  sent = 0;
  #channel: Channel | undefined;
  /** Kills the process at any time, also while it starts. */
  readonly #killer = new AbortController();
  readonly #handlers: WorkerHandlers;

  constructor(
    options: Omit<ProcessOptions<[Invitation]>, "target" | "args" | "daemon">,
    init: EncodedMessage,
    handlers: WorkerHandlers,
  ) {
    this.#handlers = handlers;
    let close = (): void => {};
    const closed = new Promise<void>((resolve) => {
      close = resolve;
    });
    const invitation = invite((channel) => {
      this.#channel = channel;
      channel.start({ message: (frame) => this.#take(frame), closed: () => close() });
      channel.forward(INIT, init.frame);
    });
    this.process = new Process({
      ...options,
      target: work,
      args: [invitation],
      daemon: true,
      signal: this.#killer.signal,
    });
    void this.#live(invitation, closed);
  }

  get pid(): number {
    return this.process.pid ?? 0;
  }

  decode(frame: Frame): unknown {
    return this.#channel?.decode(frame);
  }

  send(message: EncodedMessage): void {
    this.sent += 1;
    if (this.#channel?.closed !== false) return; // it is gone, and that is on its way to be told
    this.#channel.forward(TASK, message.frame);
    message.commit(undefined);
  }

  /** Hands what was sent to the system now. */
  flush(): void {
    this.#channel?.flush();
  }

  /** Tells the running task that it is not wanted any more. */
  cancel(reason: unknown): void {
    if (this.#channel?.closed !== false) return;
    try {
      this.#channel.send(CANCEL, reason);
    } catch {
      this.#channel.send(CANCEL, String(reason)); // a reason that cannot be sent
    }
  }

  /** Has it end after the tasks that it has. */
  leave(): void {
    if (this.#channel?.closed === false) this.#channel.sendBytes(LEAVE, new Uint8Array(0));
  }

  terminate(): void {
    if (this.process.pid === undefined) this.kill();
    else this.process.terminate();
  }

  kill(): void {
    this.#killer.abort();
  }

  #take(frame: Frame): void {
    if (frame.kind === READY) {
      this.isReady = true;
      this.#handlers.ready();
    } else if (frame.kind === BROKEN) this.#handlers.broken(this.decode(frame));
    else this.#handlers.answer(frame);
  }

  async #live(invitation: Invitation, closed: Promise<void>): Promise<void> {
    let error: unknown;
    try {
      await this.process.start();
      await this.process.sentinel.ended;
      // What it sent before its end is in the channel, which ends after that.
      if (this.#channel !== undefined) await closed;
      if (!this.isReady) error = this.#endedEarly();
    } catch (startError) {
      error = startError;
    }
    revoke(invitation);
    this.#handlers.gone(error);
  }

  #endedEarly(): StartError {
    const { exitCode, signal, name } = this.process;
    const how = signal === null ? `exit code ${exitCode}` : `signal ${signal}`;
    return new StartError(`${name} (pid ${this.pid}) ended with ${how} before it was ready for tasks`, {
      exitCode,
      signal,
    });
  }
}
