/** The types that the start methods share: the options of a start, the child, and the launcher. */
import type { ChildOutput, Permissions } from "@multiproc/core";
import { type EncodedMessage, type ExitStatus, packStartPayload } from "@multiproc/core/internal";

/** The name of a way to create a child process; see `getAllStartMethods()`. */
export type StartMethod = "spawn" | "forkserver" | "fork";

/**
 * The source of the children of start method `forkserver`; see `forkserverKind()`.
 *
 * @example The source of children on this host
 * ```ts
 * import { type ForkserverKind, forkserverKind } from "@multiproc/start-methods";
 *
 * const { kind, reason }: ForkserverKind = await forkserverKind();
 * console.log(kind === "fork" ? reason === undefined : typeof reason === "string"); // true
 * ```
 */
export interface ForkserverKind {
  /**
   * `"fork"`: a server forks the children. `"spares"`: interpreters that were started in advance
   * become the children.
   */
  readonly kind: "fork" | "spares";
  /** Why a process cannot be forked here; undefined where it can. */
  readonly reason: string | undefined;
}

/**
 * A start: the process, and how it is created.
 *
 * @internal
 */
export interface StartOptions {
  readonly method: StartMethod;
  /** The name of the process in errors, such as `Process-1`. */
  readonly name: string;
  /** The module that the child runs; it calls `enter()`. */
  readonly entry: URL;
  /** The messages that the child receives, in this order. */
  readonly messages: readonly EncodedMessage[];
  /** Modules that the child loads after its entry. */
  readonly modules: readonly string[];
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly cwd?: string | undefined;
  readonly stdout?: ChildOutput | undefined;
  readonly stderr?: ChildOutput | undefined;
  readonly execArgv?: readonly string[] | undefined;
  readonly permissions?: Permissions | undefined;
  /** Cancels the start, and kills the child if it exists. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * A started child.
 *
 * @internal
 */
export interface Child {
  readonly pid: number;
  /** The output of the child, with `"pipe"`. */
  readonly stdout: ReadableStream<Uint8Array> | null;
  readonly stderr: ReadableStream<Uint8Array> | null;
  /** Resolves when the child has ended; never rejects. */
  readonly exited: Promise<ExitStatus>;
  /**
   * Whether the child got its messages in its arguments. It then does not connect to the endpoint of
   * this process. The kernel, its fork server or the channel of a spare ends it with this process.
   */
  readonly hasPayload?: boolean;
  kill(signal: string): void;
  /** Keeps this program alive until the child has ended; `unref()` reverses it. */
  ref(): void;
  unref(): void;
}

/**
 * Creates a child by one start method. The child runs the entry of the options with the given
 * arguments: the endpoint of this process, a token, and a socket path for the endpoint of the
 * child.
 *
 * A launcher that can pass the messages of the child in its arguments does so; see
 * {@link argsWithPayload}. `start()` does the rest of a start.
 *
 * @throws {StartError} if the child cannot be started
 * @throws {StartMethodError} if the method is not available now
 * @internal
 */
export type Launcher = (options: StartOptions, args: readonly string[]) => Promise<Child>;

/**
 * Returns the arguments of a child with its messages in them; undefined if the messages are too
 * long, or have binary parts.
 */
export function argsWithPayload(
  { messages }: StartOptions,
  [, , childSocketPath = ""]: readonly string[],
): string[] | undefined {
  const payload = packStartPayload(messages);
  return payload === undefined ? undefined : ["", "", childSocketPath, payload];
}
