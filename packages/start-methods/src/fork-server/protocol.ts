/**
 * What a fork server and the processes that ask it for children say to each other: lines of JSON over a Unix socket.
 *
 * ```text
 * asks                                    server
 *   { id: 1, do: "fork", … }  ──────────>   forks
 *                  <──────────────────────  { id: 1, pid: 4711 }, or { id: 1, refused: … }
 *   { id: 1, do: "kill", signal: 15 } ──>   signals the child, if it has not ended
 *                  <──────────────────────  { id: 1, code: 0, signal: null }
 *   (closes the connection) ────────────>   kills those of its children that are left
 * ```
 *
 * The connection is the ownership: who asks for a child keeps the connection open as long as the child may live. The server
 * opens the connection to its own owner itself, says on it first how its start went, and ends when it is closed.
 */
import type { ExitStatus, ForkRefusal } from "@multiproc/core/internal";
import type { Failure } from "../start-failure.ts";

/** What a fork server is started with, as its only argument. */
export interface ServerConfig {
  /** The socket of its owner. */
  readonly ownerSocketPath: string;
  /** The socket that it shall listen on, for others. */
  readonly socketPath: string;
  /** Modules to load before any child is made, in this order. */
  readonly preload: readonly string[];
  /** Modules whose `rehearse()` runs once all is loaded, so that children inherit compiled what they will run first. */
  readonly warmUpModules: readonly string[];
  /** How many worker threads V8 gets in each child. */
  readonly threads: number;
}

/** A function by its module and export. */
export interface FunctionName {
  readonly module: string;
  readonly name: string;
}

/** Where a standard stream of a child goes; `socket` is a Unix socket where somebody listens. */
export type OutputTarget = "inherit" | "ignore" | { readonly socketPath: string };

/** What a child runs, and in what surroundings. */
export interface ForkRequest {
  /** The function that the child calls. */
  readonly call: FunctionName;
  readonly args: readonly string[];
  /** Variables that differ from the server's; null takes one away. */
  readonly env?: Readonly<Record<string, string | null>> | undefined;
  /** The absolute path of its working directory. @default that of the server */
  readonly cwd?: string | undefined;
  readonly stdout: OutputTarget;
  readonly stderr: OutputTarget;
}

/** What is asked of the server; `id` is the asking side's own. */
export type Request =
  | { readonly id: number; readonly do: "fork"; readonly request: ForkRequest }
  | { readonly id: number; readonly do: "kill"; readonly signal: number };

/** What the server answers. */
export type Reply =
  | { readonly id: number; readonly pid: number }
  | { readonly id: number; readonly refused: ForkRefusal }
  /** To the owner: the child that is forked in advance, as long as no reply gives it away; 0 when there is none. */
  | { readonly standby: number }
  | ({ readonly id: number } & ExitStatus);

/** What the server says to its owner before all else. */
export type StartupResult = { readonly ready: true } | { readonly refused: ForkRefusal } | { readonly failed: Failure };

const NEWLINE = 0x0a;

/** Makes lines from chunks of bytes. */
export class LineReader {
  readonly #decoder = new TextDecoder();
  #partial: Uint8Array[] = [];

  /** The lines that end in this chunk. */
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

/** A message as a line. */
export function toLine(message: Request | Reply | StartupResult): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(message)}\n`);
}
