/**
 * The launcher of `forkserver` where processes can be forked: it turns start options into requests
 * to the server.
 */
import { StartError } from "@multiproc/core";
import { childModules, type ForkServerAddress, host } from "@multiproc/core/internal";
import { getExecutable } from "../executable.ts";
import { helperPids } from "../helper-processes.ts";
import { argsWithPayload, type Child, type ForkserverKind, type StartOptions } from "../launcher.ts";
import { SparePool } from "../spares/spare-pool.ts";
import { ForkRefusedError } from "./fork-refused-error.ts";
import { ForkServer } from "./fork-server.ts";
import { type ForkOrder, ServerConnection } from "./server-connection.ts";

/** A fork server that this process owns, or a connection to the server that forked this process. */
interface ForkTarget {
  start(order: ForkOrder): Promise<Child>;
  close(): Promise<void> | void;
}

/** Starts children by a fork server. */
export class ForkServerLauncher {
  readonly kind: ForkserverKind = { kind: "fork", reason: undefined };
  readonly #target: ForkTarget;
  readonly #isOpen: () => boolean;
  readonly #preload: readonly string[];
  /** The environment of the server, which its children inherit. */
  readonly #env: Readonly<Record<string, string>>;

  private constructor(
    target: ForkTarget,
    isOpen: () => boolean,
    env: Readonly<Record<string, string>>,
    preload: readonly string[],
  ) {
    this.#target = target;
    this.#isOpen = isOpen;
    this.#env = env;
    this.#preload = preload;
  }

  /** Starts a fork server. */
  static async start(preload: readonly string[], signal: AbortSignal): Promise<ForkServerLauncher> {
    const env = host.environment() ?? {};
    const server = await ForkServer.start({
      preload,
      warmUpModules: [...childModules],
      signal,
      executable: getExecutable(),
    });
    helperPids.add(server.pid);
    void server.ended.then(() => helperPids.delete(server.pid));
    const serverEnv = { ...env, ...ForkServer.extraEnv };
    return new ForkServerLauncher(server, () => server.isRunning, serverEnv, preload);
  }

  /** Connects to the server that forked this process; undefined if it cannot be reached. */
  static async join({ socketPath, env }: ForkServerAddress): Promise<ForkServerLauncher | undefined> {
    try {
      const connection = new ServerConnection(await host.connect(socketPath));
      return new ForkServerLauncher(connection, () => connection.isOpen, env, []);
    } catch {
      return undefined;
    }
  }

  /** Whether the server accepts requests. */
  get isRunning(): boolean {
    return this.#isOpen();
  }

  /** Requests a child from the server. */
  async launch(options: StartOptions, args: readonly string[]): Promise<Child> {
    const { entry, name, stdout, stderr } = options;
    const cwd = resolveCwd(options.cwd);
    const env = envChanges(this.#env, { ...host.environment(), ...options.env });
    const call = { module: entry.href, name: "run" };
    const payloadArgs = argsWithPayload(options, args);
    const hasPayload = payloadArgs !== undefined;
    try {
      const order = { call, args: payloadArgs ?? args, env, cwd, stdout, stderr };
      return { ...(await this.#target.start(order)), hasPayload };
    } catch (error) {
      if (!(error instanceof ForkRefusedError)) throw error;
      // A limit of the system would stop a new interpreter too.
      if (error.reason === "system")
        throw new StartError(`Cannot start ${name}: ${error.explanation}`, { cause: error });
      return new SparePool(this.#preload).launchDedicated(options, args);
    }
  }

  /** Ends the server if this process owns it, and the children of this process in any case. */
  async close(): Promise<void> {
    await this.#target.close();
  }
}

function resolveCwd(cwd: string | undefined): string | undefined {
  const ownCwd = host.cwd();
  if (cwd === undefined) return ownCwd;
  return cwd.startsWith("/") || ownCwd === undefined ? cwd : `${ownCwd}/${cwd}`;
}

/** Returns the differences between two environments; null removes a variable. */
function envChanges(
  from: Readonly<Record<string, string>>,
  to: Readonly<Record<string, string>>,
): Record<string, string | null> {
  const changes: Record<string, string | null> = {};
  for (const name of Object.keys(from)) if (!(name in to)) changes[name] = null;
  for (const [name, value] of Object.entries(to)) if (from[name] !== value) changes[name] = value;
  return changes;
}
