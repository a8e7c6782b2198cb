import type { ChildOutput, Permissions } from "@multiproc/core";
import { type EncodedMessage, type ExitStatus, packStartPayload } from "@multiproc/core/internal";

/** How a child process comes to be; see {@link getAllStartMethods}. */
export type StartMethod = "spawn" | "forkserver" | "fork";

/**
 * What the children of start method `forkserver` come from; see `forkserverKind()`.
 *
 * @example What children come from here
 * ```ts
 * import { type ForkserverKind, forkserverKind } from "@multiproc/start-methods";
 *
 * const { kind, reason }: ForkserverKind = await forkserverKind();
 * console.log(kind === "fork" ? reason === undefined : typeof reason === "string"); // true
 * ```
 */
export interface ForkserverKind {
  /** `"fork"`: a server forks them. `"spares"`: they were started beforehand and waited. */
  readonly kind: "fork" | "spares";
  /** Why a process cannot be forked here; undefined where it can. */
  readonly reason: string | undefined;
}

/**
 * What is started, and how.
 *
 * @internal
 */
export interface StartOptions {
  readonly method: StartMethod;
  /** How the process is called in errors: `Process-1`. */
  readonly name: string;
  /** The module that the child runs; it calls `enter()`. */
  readonly entry: URL;
  /** What the child receives, in this order. */
  readonly messages: readonly EncodedMessage[];
  /** Modules that the child loads besides its entry. */
  readonly modules: readonly string[];
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly cwd?: string | undefined;
  readonly stdout?: ChildOutput | undefined;
  readonly stderr?: ChildOutput | undefined;
  readonly execArgv?: readonly string[] | undefined;
  readonly permissions?: Permissions | undefined;
  /** Ends the start; a child that is under way is killed. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * A started child.
 *
 * @internal
 */
export interface Child {
  readonly pid: number;
  /** What it writes, with `"pipe"`. */
  readonly stdout: ReadableStream<Uint8Array> | null;
  readonly stderr: ReadableStream<Uint8Array> | null;
  /** Settles when the child has ended; never rejects. */
  readonly exited: Promise<ExitStatus>;
  /** Whether it has its messages already, and ends with this process whatever happens: then it does not come to the door. */
  readonly hasPayload?: boolean;
  kill(signal: string): void;
  /** Whether this program waits for the child before it ends. */
  ref(): void;
  unref(): void;
}

/**
 * Brings a child to life, by one start method: it runs the entry of the options with these arguments (the door, a token, and a
 * place for the child's own door). Where what makes it can take its messages along, as {@link argsWithPayload} says, it has
 * them from the start. All else that belongs to a start is done by who calls this.
 *
 * @throws {StartError} if there is no child
 * @throws {StartMethodError} if the method is not to be had now
 * @internal
 */
export type Launcher = (options: StartOptions, args: readonly string[]) => Promise<Child>;

/** The arguments for a child that is given its messages as it is made; undefined if they are too many for that. */
export function argsWithPayload(
  { messages }: StartOptions,
  [, , childSocketPath = ""]: readonly string[],
): string[] | undefined {
  const payload = packStartPayload(messages);
  return payload === undefined ? undefined : ["", "", childSocketPath, payload];
}
