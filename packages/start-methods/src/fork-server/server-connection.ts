/** The client side of a connection to a fork server, and the children requested on it. */
import { type ChildOutput, StartError } from "@multiproc/core";
import { type ExitStatus, host } from "@multiproc/core/internal";
import { ChildOutputSockets } from "../child-output-socket.ts";
import { helperPids } from "../helper-processes.ts";
import type { Child } from "../launcher.ts";
import { ForkRefusedError } from "./fork-refused-error.ts";
import { type ForkRequest, LineReader, type Reply, type Request, toLine } from "./protocol.ts";

/** A child to request from a fork server. */
export interface ForkOrder extends Omit<ForkRequest, "stdout" | "stderr"> {
  /** @default "inherit" */
  readonly stdout?: ChildOutput | undefined;
  /** @default "inherit" */
  readonly stderr?: ChildOutput | undefined;
}

type Stream = Awaited<ReturnType<typeof host.connect>>;

/** The status of running children when the connection closes: the server or the kernel kills them. */
const KILLED_STATUS: ExitStatus = { code: null, signal: "SIGKILL" };

/** A connection to a fork server. */
export class ServerConnection {
  /** Resolves when the server has closed the connection. */
  readonly closed: Promise<void>;
  readonly #stream: Stream;
  readonly #lines = new LineReader();
  readonly #pendingForks = new Map<number, { resolve(pid: number): void; reject(error: Error): void }>();
  readonly #exitHandlers = new Map<number, (status: ExitStatus) => void>();
  /** The requests that keep this program alive: starts, and children that it waits for. */
  readonly #refs = new Set<number>();
  #onFirstMessage: ((message: unknown) => void) | undefined;
  #isOpen = true;
  #standbyPid = 0;
  #lastId = 0;

  /** @param onFirstMessage receives the first message, if the server connected to this process */
  constructor(stream: Stream, onFirstMessage?: (message: unknown) => void) {
    this.#stream = stream;
    this.#onFirstMessage = onFirstMessage;
    this.closed = new Promise((resolve) => {
      stream.start({
        data: (chunk) => {
          for (const message of this.#lines.push(chunk)) this.#receive(message);
        },
        end: () => {
          this.#end();
          resolve();
        },
        drain: () => {},
      });
    });
    stream.unref();
  }

  /** Whether the server accepts requests. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * Requests a child.
   *
   * @throws {ForkRefusedError} if the server could not fork
   * @throws {StartError} if the server has ended
   */
  async start(order: ForkOrder): Promise<Child> {
    const id = ++this.#lastId;
    const outputs = new ChildOutputSockets(order);
    const stdout = outputTarget(order.stdout, outputs.stdout?.socketPath);
    const stderr = outputTarget(order.stderr, outputs.stderr?.socketPath);
    const request: ForkRequest = { ...order, stdout, stderr };
    // Registered before the pid is known: the same chunk can report the pid and the end of the
    // child.
    const exited = new Promise<ExitStatus>((resolve) => this.#exitHandlers.set(id, resolve));
    this.#setRef(id, true);
    try {
      const pid = await new Promise<number>((resolve, reject) => {
        this.#pendingForks.set(id, { resolve, reject });
        this.#send({ id, do: "fork", request });
      });
      return this.#toChild(id, pid, exited, outputs);
    } catch (error) {
      this.#exitHandlers.delete(id);
      this.#setRef(id, false);
      outputs.close();
      throw error;
    }
  }

  /** Closes the connection, which ends its children. */
  close(): void {
    this.#stream.destroy();
    this.#end();
  }

  #toChild(id: number, pid: number, exited: Promise<ExitStatus>, outputs: ChildOutputSockets): Child {
    void exited.then(() => this.#setRef(id, false));
    return {
      pid,
      exited,
      ...outputs.connect(),
      kill: (signal) => {
        if (this.#exitHandlers.has(id)) this.#send({ id, do: "kill", signal: host.signalNumber(signal) });
      },
      ref: () => {
        this.#setRef(id, this.#exitHandlers.has(id));
        outputs.ref();
      },
      unref: () => {
        this.#setRef(id, false);
        outputs.unref();
      },
    };
  }

  #send(request: Request): void {
    if (this.#isOpen) this.#stream.write(toLine(request));
    else this.#pendingForks.get(request.id)?.reject(serverGoneError());
  }

  #receive(message: unknown): void {
    if (this.#onFirstMessage !== undefined) {
      this.#onFirstMessage(message);
      this.#onFirstMessage = undefined;
      return;
    }
    const reply = message as Reply;
    if ("standby" in reply) return this.#setStandby(reply.standby);
    if ("pid" in reply && reply.pid === this.#standbyPid) this.#setStandby(0);
    const pending = this.#pendingForks.get(reply.id);
    if ("pid" in reply) {
      this.#pendingForks.delete(reply.id);
      pending?.resolve(reply.pid);
    } else if ("refused" in reply) {
      this.#pendingForks.delete(reply.id);
      pending?.reject(new ForkRefusedError(reply.refused));
    } else {
      const { code, signal } = reply;
      this.#exitHandlers.get(reply.id)?.({ code, signal });
      this.#exitHandlers.delete(reply.id);
    }
  }

  /** Records the preforked child of the server as a helper process. */
  #setStandby(pid: number): void {
    helperPids.delete(this.#standbyPid);
    this.#standbyPid = pid;
    if (pid > 0) helperPids.add(pid);
  }

  #end(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#setStandby(0);
    for (const pending of this.#pendingForks.values()) pending.reject(serverGoneError());
    this.#pendingForks.clear();
    for (const onExit of this.#exitHandlers.values()) onExit(KILLED_STATUS);
    this.#exitHandlers.clear();
  }

  #setRef(id: number, isNeeded: boolean): void {
    if (isNeeded) this.#refs.add(id);
    else this.#refs.delete(id);
    if (this.#refs.size > 0) this.#stream.ref();
    else this.#stream.unref();
  }
}

function outputTarget(output: ChildOutput | undefined, socketPath: string | undefined): ForkRequest["stdout"] {
  if (socketPath !== undefined) return { socketPath };
  return output === "ignore" ? "ignore" : "inherit";
}

function serverGoneError(): StartError {
  return new StartError("The fork server has ended");
}
