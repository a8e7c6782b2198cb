/** What a forked child writes, in its parent: the child's stream is connected to a socket here. */
import type { ChildOutput } from "@multiproc/core";
import { type ByteSource, host, reserveSocketPath, routeOutput, toStdio } from "@multiproc/core/internal";
import type { Child } from "./launcher.ts";

type Handlers = Parameters<ByteSource["start"]>[0];

/** Where the streams of a child lead. */
interface Destinations {
  readonly stdout?: ChildOutput | undefined;
  readonly stderr?: ChildOutput | undefined;
}

/** The standard streams of a child, as far as this process reads them. */
export class ChildOutputSockets {
  readonly stdout: ChildOutputSocket | undefined;
  readonly stderr: ChildOutputSocket | undefined;
  readonly #destinations: Destinations;

  constructor(destinations: Destinations) {
    this.#destinations = destinations;
    this.stdout = toStdio(destinations.stdout) === "pipe" ? new ChildOutputSocket() : undefined;
    this.stderr = toStdio(destinations.stderr) === "pipe" ? new ChildOutputSocket() : undefined;
  }

  /** Has what the child writes go where it shall; what is left for its parent to read is the result. */
  connect(): Pick<Child, "stdout" | "stderr"> {
    return {
      stdout: routeOutput(this.stdout, this.#destinations.stdout),
      stderr: routeOutput(this.stderr, this.#destinations.stderr),
    };
  }

  ref(): void {
    this.stdout?.ref();
    this.stderr?.ref();
  }

  unref(): void {
    this.stdout?.unref();
    this.stderr?.unref();
  }

  /** Takes their places away. */
  close(): void {
    this.stdout?.close();
    this.stderr?.close();
  }
}

/** The way of one standard stream to this process: a place for one connection. */
class ChildOutputSocket implements ByteSource {
  /** Where the child, or who makes it, shall connect. */
  readonly socketPath: string = reserveSocketPath();
  readonly #server: { close(): void };
  #connection: ByteSource | undefined;
  #handlers: Handlers | undefined;
  #isOpen = true;
  #isPaused = false;
  #keepsAlive = true;

  constructor() {
    this.#server = host.listen(
      this.socketPath,
      (connection) => this.#onConnect(connection),
      () => {}, // who was to connect finds nobody there, and says so
    );
  }

  start(handlers: Handlers): void {
    this.#handlers = handlers;
    this.#startReading();
    if (this.#connection === undefined && !this.#isOpen) handlers.end();
  }

  pause(): void {
    this.#isPaused = true;
    this.#connection?.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#connection?.resume();
  }

  /** Takes the place away, too. */
  destroy(): void {
    this.#connection?.destroy();
    this.close();
  }

  ref(): void {
    this.#keepsAlive = true;
    this.#connection?.ref();
  }

  unref(): void {
    this.#keepsAlive = false;
    this.#connection?.unref();
  }

  readNow(): void {
    this.#connection?.readNow?.();
  }

  /** Takes the place away; if nobody has connected, that is the end. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#server.close();
    host.remove(this.socketPath);
    if (this.#connection === undefined) this.#handlers?.end();
  }

  #onConnect(connection: ByteSource): void {
    this.#connection = connection;
    this.close();
    if (!this.#keepsAlive) connection.unref();
    this.#startReading();
    if (this.#isPaused) connection.pause();
  }

  /** Begins when there is a connection and somebody who wants what comes. */
  #startReading(): void {
    const [connection, handlers] = [this.#connection, this.#handlers];
    if (connection === undefined || handlers === undefined) return;
    const end = (): void => {
      connection.destroy(); // our half of it is open still
      handlers.end();
    };
    connection.start({ data: (bytes) => handlers.data(bytes), end, drain: () => {} });
  }
}
