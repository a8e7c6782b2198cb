/**
 * The protocol between a fork server and its clients: lines of JSON over a Unix socket.
 *
 * ```text
 * client                                  server
 *   { id: 1, do: "fork", … }  ──────────>   forks
 *                  <──────────────────────  { id: 1, pid: 4711 }, or { id: 1, refused: … }
 *   { id: 1, do: "kill", signal: 15 } ──>   signals the child, if it has not ended
 *                  <──────────────────────  { id: 1, code: 0, signal: null }
 *   (closes the connection) ────────────>   kills the remaining children of the client
 * ```
 *
 * A client keeps its connection open as long as its children may live. The server itself connects
 * to its owner. Its first message on that connection is the result of its start, and the server
 * ends when that connection closes.
 */
import type { ExitStatus, ForkRefusal } from "@multiproc/core/internal";
import type { Failure } from "../start-failure.ts";

/** The configuration of a fork server, which is its only argument. */
export interface ServerConfig {
  /** The socket on which the owner listens. */
  readonly ownerSocketPath: string;
  /** The socket on which the server listens for other clients. */
  readonly socketPath: string;
  /** Modules that are loaded before children are created, in this order. */
  readonly preload: readonly string[];
  /**
   * Modules of `preload` whose export `warmUp()`, if there is one, is called after loading. Children
   * then inherit compiled code for their first steps.
   */
  readonly warmUpModules: readonly string[];
  /** The number of worker threads of V8 in each child. */
  readonly threads: number;
}

/** The module and the export name of a function. */
export interface FunctionName {
  readonly module: string;
  readonly name: string;
}

/**
 * The destination of a standard stream of a child; `socketPath` is a Unix socket on which the
 * client listens.
 */
export type OutputTarget = "inherit" | "ignore" | { readonly socketPath: string };

/** The function, environment and streams of a child. */
export interface ForkRequest {
  /** The function that the child calls. */
  readonly call: FunctionName;
  readonly args: readonly string[];
  /** Variables that differ from those of the server; null removes one. */
  readonly env?: Readonly<Record<string, string | null>> | undefined;
  /** The absolute path of its working directory. @default that of the server */
  readonly cwd?: string | undefined;
  readonly stdout: OutputTarget;
  readonly stderr: OutputTarget;
}

/** A request of a client, which chooses the `id`. */
export type Request =
  | { readonly id: number; readonly do: "fork"; readonly request: ForkRequest }
  | { readonly id: number; readonly do: "kill"; readonly signal: number };

/** A message of the server to a client. */
export type Reply =
  | { readonly id: number; readonly pid: number }
  | { readonly id: number; readonly refused: ForkRefusal }
  /** To the owner: the pid of the preforked child, or 0 when there is none. */
  | { readonly standby: number }
  | ({ readonly id: number } & ExitStatus);

/** The first message of the server to its owner. */
export type StartupResult = { readonly ready: true } | { readonly refused: ForkRefusal } | { readonly failed: Failure };

const NEWLINE = 0x0a;

/** Splits chunks of bytes into lines, and parses them. */
export class LineReader {
  readonly #decoder = new TextDecoder();
  #partial: Uint8Array[] = [];

  /** Returns the messages whose last byte is in this chunk. */
  push(chunk: Uint8Array): unknown[] {
    const messages: unknown[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      let text = "";
      for (const part of this.#partial) text += this.#decoder.decode(part, { stream: true });
      this.#partial = [];
      messages.push(JSON.parse(text + this.#decoder.decode(chunk.subarray(start, end))));
      start = end + 1;
    }
    if (start < chunk.length) this.#partial.push(chunk.slice(start));
    return messages;
  }
}

/** Encodes a message as a line. */
export function toLine(message: Request | Reply | StartupResult): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(message)}\n`);
}
