/** The asking side of the protocol: one connection to a fork server, and the children that were had by it. */
import { type ChildOutput, StartError } from "@multiproc/core";
import { type ExitStatus, host } from "@multiproc/core/internal";
import { OutputStreams } from "../child-output-socket.ts";
import { idle } from "../helper-processes.ts";
import type { Child } from "../launcher.ts";
import { ForkRefusedError } from "./fork-refused-error.ts";
import { type ForkRequest, LineReader, type Reply, type Request, toLine } from "./protocol.ts";

/** A child to be had from a fork server. */
export interface ForkOrder extends Omit<ForkRequest, "stdout" | "stderr"> {
  /** @default "inherit" */
  readonly stdout?: ChildOutput | undefined;
  /** @default "inherit" */
  readonly stderr?: ChildOutput | undefined;
}

type Stream = Awaited<ReturnType<typeof host.connect>>;

/** What the kernel does to the children of a server that is gone. */
const KILLED: ExitStatus = { code: null, signal: "SIGKILL" };

/** A connection to a fork server. */
export class ServerConnection {
  /** Settles when the server is gone. */
  readonly closed: Promise<void>;
  readonly #stream: Stream;
  readonly #lines = new LineReader();
  readonly #starting = new Map<number, { resolve(pid: number): void; reject(error: Error): void }>();
  readonly #running = new Map<number, (status: ExitStatus) => void>();
  /** What keeps this program alive: starts, and children that it waits for. */
  readonly #holds = new Set<number>();
  #greet: ((greeting: unknown) => void) | undefined;
  #isOpen = true;
  #standby = 0;
  #count = 0;

  /** @param greet gets the first message, if the server sends one of itself */
  constructor(stream: Stream, greet?: (greeting: unknown) => void) {
    this.#stream = stream;
    this.#greet = greet;
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

  /** Whether the server can be asked for children. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * Has the server fork a child.
   *
   * @throws {ForkRefusedError} if there was no fork
   * @throws {StartError} if the server is gone
   */
  async start(order: ForkOrder): Promise<Child> {
    const id = ++this.#count;
    const outputs = new OutputStreams(order);
    const stdout = place(order.stdout, outputs.stdout?.socket);
    const stderr = place(order.stderr, outputs.stderr?.socket);
    const request: ForkRequest = { ...order, stdout, stderr };
    // Kept before the pid is known: the end of a child can come in the same chunk.
    const exited = new Promise<ExitStatus>((resolve) => this.#running.set(id, resolve));
    this.#hold(id, true);
    try {
      const pid = await new Promise<number>((resolve, reject) => {
        this.#starting.set(id, { resolve, reject });
        this.#send({ id, do: "fork", request });
      });
      return this.#child(id, pid, exited, outputs);
    } catch (error) {
      this.#running.delete(id);
      this.#hold(id, false);
      outputs.close();
      throw error;
    }
  }

  /** Ends the connection, and with it the children that were had by it. */
  close(): void {
    this.#stream.destroy();
    this.#end();
  }

  #child(id: number, pid: number, exited: Promise<ExitStatus>, outputs: OutputStreams): Child {
    void exited.then(() => this.#hold(id, false));
    return {
      pid,
      exited,
      ...outputs.connect(),
      kill: (signal) => {
        if (this.#running.has(id)) this.#send({ id, do: "kill", signal: host.signalNumber(signal) });
      },
      ref: () => {
        this.#hold(id, this.#running.has(id));
        outputs.ref();
      },
      unref: () => {
        this.#hold(id, false);
        outputs.unref();
      },
    };
  }

  #send(request: Request): void {
    if (this.#isOpen) this.#stream.write(toLine(request));
    else this.#starting.get(request.id)?.reject(gone());
  }

  #receive(message: unknown): void {
    if (this.#greet !== undefined) {
      this.#greet(message);
      this.#greet = undefined;
      return;
    }
    const reply = message as Reply;
    if ("standby" in reply) return this.#keep(reply.standby);
    if ("pid" in reply && reply.pid === this.#standby) this.#keep(0);
    const start = this.#starting.get(reply.id);
    if ("pid" in reply) {
      this.#starting.delete(reply.id);
      start?.resolve(reply.pid);
    } else if ("refused" in reply) {
      this.#starting.delete(reply.id);
      start?.reject(new ForkRefusedError(reply.refused));
    } else {
      const { code, signal } = reply;
      this.#running.get(reply.id)?.({ code, signal });
      this.#running.delete(reply.id);
    }
  }

  /** Notes the child that the server has forked in advance. */
  #keep(standby: number): void {
    idle.delete(this.#standby);
    this.#standby = standby;
    if (standby > 0) idle.add(standby);
  }

  #end(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#keep(0);
    for (const start of this.#starting.values()) start.reject(gone());
    this.#starting.clear();
    for (const settle of this.#running.values()) settle(KILLED);
    this.#running.clear();
  }

  #hold(id: number, wanted: boolean): void {
    if (wanted) this.#holds.add(id);
    else this.#holds.delete(id);
    if (this.#holds.size > 0) this.#stream.ref();
    else this.#stream.unref();
  }
}

function place(wish: ChildOutput | undefined, socket: string | undefined): ForkRequest["stdout"] {
  if (socket !== undefined) return { socket };
  return wish === "ignore" ? "ignore" : "inherit";
}

function gone(): StartError {
  return new StartError("The fork server has ended");
}
