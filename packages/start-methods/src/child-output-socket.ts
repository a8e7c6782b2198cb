/**
 * The output of a forked child, in its parent.
 *
 * A forked process has no pipe to its parent. For each stream that the parent reads, the parent
 * listens on a Unix socket, the child connects to it, and its stream is redirected there. Used by
 * `fork` and by the fork server.
 */
import type { ChildOutput } from "@multiproc/core";
import { type ByteSource, host, reserveSocketPath, routeOutput, toStdio } from "@multiproc/core/internal";
import type { Child } from "./launcher.ts";

type Handlers = Parameters<ByteSource["start"]>[0];

/** The destinations of the standard streams of a child. */
interface Destinations {
  readonly stdout?: ChildOutput | undefined;
  readonly stderr?: ChildOutput | undefined;
}

/** The standard streams of a child that this process reads. */
export class ChildOutputSockets {
  readonly stdout: ChildOutputSocket | undefined;
  readonly stderr: ChildOutputSocket | undefined;
  readonly #destinations: Destinations;

  constructor(destinations: Destinations) {
    this.#destinations = destinations;
    this.stdout = toStdio(destinations.stdout) === "pipe" ? new ChildOutputSocket() : undefined;
    this.stderr = toStdio(destinations.stderr) === "pipe" ? new ChildOutputSocket() : undefined;
  }

  /** Connects the streams to their destinations; returns the readable ones. */
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

  /** Stops listening. */
  close(): void {
    this.stdout?.close();
    this.stderr?.close();
  }
}

/** A socket that accepts one connection: the standard stream of a child. */
class ChildOutputSocket implements ByteSource {
  /** The path that the child, or the process that forks it, connects to. */
  readonly socketPath: string = reserveSocketPath();
  readonly #server: { close(): void };
  #connection: ByteSource | undefined;
  #handlers: Handlers | undefined;
  #isListening = true;
  #isPaused = false;
  #keepsAlive = true;

  constructor() {
    this.#server = host.listen(
      this.socketPath,
      (connection) => this.#onConnect(connection),
      () => {}, // the child fails to connect, and reports that
    );
  }

  start(handlers: Handlers): void {
    this.#handlers = handlers;
    this.#startReading();
    if (this.#connection === undefined && !this.#isListening) handlers.end();
  }

  pause(): void {
    this.#isPaused = true;
    this.#connection?.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#connection?.resume();
  }

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

  /** Stops listening. If the child has not connected, its stream ends. */
  close(): void {
    if (!this.#isListening) return;
    this.#isListening = false;
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

  /** Reads once there is both a connection and a reader. */
  #startReading(): void {
    const [connection, handlers] = [this.#connection, this.#handlers];
    if (connection === undefined || handlers === undefined) return;
    const end = (): void => {
      connection.destroy(); // closes the half for writing too
      handlers.end();
    };
    connection.start({ data: (bytes) => handlers.data(bytes), end, drain: () => {} });
  }
}
