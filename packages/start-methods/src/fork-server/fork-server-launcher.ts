/** The start method `forkserver` where processes can be forked: what a child asks of the server. */
import { StartError } from "@multiproc/core";
import { childModules, type ForkServerAddress, host } from "@multiproc/core/internal";
import { getExecutable } from "../executable.ts";
import { helperPids } from "../helper-processes.ts";
import { argsWithPayload, type Child, type ForkserverKind, type StartOptions } from "../launcher.ts";
import { SparePool } from "../spares/spare-pool.ts";
import { ForkRefusedError } from "./fork-refused-error.ts";
import { ForkServer } from "./fork-server.ts";
import { type ForkOrder, ServerConnection } from "./server-connection.ts";

/** A server's side that children are asked from, by its owner or by a process that it has forked. */
interface ForkTarget {
  start(order: ForkOrder): Promise<Child>;
  close(): Promise<void> | void;
}

/** Children by a fork server. */
export class ForkServerLauncher {
  readonly kind: ForkserverKind = { kind: "fork", reason: undefined };
  readonly #target: ForkTarget;
  readonly #isOpen: () => boolean;
  readonly #preload: readonly string[];
  /** The variables that the server's children begin with. */
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

  /** Starts a server. */
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

  /** Asks the server that this process was forked by; none if it cannot be reached. */
  static async join({ socketPath, env }: ForkServerAddress): Promise<ForkServerLauncher | undefined> {
    try {
      const connection = new ServerConnection(await host.connect(socketPath));
      return new ForkServerLauncher(connection, () => connection.isOpen, env, []);
    } catch {
      return undefined;
    }
  }

  /** Whether it can be asked for children. */
  get isRunning(): boolean {
    return this.#isOpen();
  }

  /** Has the server fork a child. */
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
      // What the system refuses to a fork, it would to any process.
      if (error.reason === "system")
        throw new StartError(`Cannot start ${name}: ${error.explanation}`, { cause: error });
      return new SparePool(this.#preload).launchDedicated(options, args);
    }
  }

  /** Ends the server, if it is this process's own, and the children that were had by it. */
  async close(): Promise<void> {
    await this.#target.close();
  }
}

function resolveCwd(cwd: string | undefined): string | undefined {
  const ownCwd = host.cwd();
  if (cwd === undefined) return ownCwd;
  return cwd.startsWith("/") || ownCwd === undefined ? cwd : `${ownCwd}/${cwd}`;
}

/** What must be changed to get from one environment to another; null takes a variable away. */
function envChanges(
  from: Readonly<Record<string, string>>,
  to: Readonly<Record<string, string>>,
): Record<string, string | null> {
  const changes: Record<string, string | null> = {};
  for (const name of Object.keys(from)) if (!(name in to)) changes[name] = null;
  for (const [name, value] of Object.entries(to)) if (from[name] !== value) changes[name] = value;
  return changes;
}
