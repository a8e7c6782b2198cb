/** The start method `forkserver` where processes can be forked: what a child asks of the server. */
import { StartError } from "@multiproc/core";
import { childModules, host, type KnownServer } from "@multiproc/core/internal";
import { getExecutable } from "../executable.ts";
import type { ForkserverKind } from "../forkserver.ts";
import { idle } from "../helper-processes.ts";
import { argsWithWork, type Child, type StartOptions } from "../launcher.ts";
import { Spares } from "../spares/spare-pool.ts";
import { ForkRefusedError } from "./fork-refused-error.ts";
import { ForkServer } from "./fork-server.ts";
import { type ForkOrder, ServerConnection } from "./server-connection.ts";

/** A server's side that children are asked from, by its owner or by a process that it has forked. */
interface Asked {
  start(order: ForkOrder): Promise<Child>;
  close(): Promise<void> | void;
}

/** Children by a fork server. */
export class ForkSource {
  readonly kind: ForkserverKind = { kind: "fork", reason: undefined };
  readonly #asked: Asked;
  readonly #isOpen: () => boolean;
  readonly #preload: readonly string[];
  /** The variables that the server's children begin with. */
  readonly #env: Readonly<Record<string, string>>;

  private constructor(
    asked: Asked,
    isOpen: () => boolean,
    env: Readonly<Record<string, string>>,
    preload: readonly string[],
  ) {
    this.#asked = asked;
    this.#isOpen = isOpen;
    this.#env = env;
    this.#preload = preload;
  }

  /** Starts a server. */
  static async start(preload: readonly string[], signal: AbortSignal): Promise<ForkSource> {
    const env = host.environment() ?? {};
    const server = await ForkServer.start({
      preload,
      rehearsals: [...childModules],
      signal,
      executable: getExecutable(),
    });
    idle.add(server.pid);
    void server.ended.then(() => idle.delete(server.pid));
    const own = { ...env, ...ForkServer.variables };
    return new ForkSource(server, () => server.isRunning, own, preload);
  }

  /** Asks the server that this process was forked by; none if it cannot be reached. */
  static async join({ address, env }: KnownServer): Promise<ForkSource | undefined> {
    try {
      const connection = new ServerConnection(await host.connect(address));
      return new ForkSource(connection, () => connection.isOpen, env, []);
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
    const cwd = folderOf(options.cwd);
    const env = differences(this.#env, { ...host.environment(), ...options.env });
    const call = { module: entry.href, name: "run" };
    const withWork = argsWithWork(options, args);
    const hasWork = withWork !== undefined;
    try {
      const order = { call, args: withWork ?? args, env, cwd, stdout, stderr };
      return { ...(await this.#asked.start(order)), hasWork };
    } catch (error) {
      if (!(error instanceof ForkRefusedError)) throw error;
      // What the system refuses to a fork, it would to any process.
      if (error.reason === "system") throw new StartError(`Cannot start ${name}: ${error.because}`, { cause: error });
      return new Spares(this.#preload).launchOne(options, args);
    }
  }

  /** Ends the server, if it is this process's own, and the children that were had by it. */
  async close(): Promise<void> {
    await this.#asked.close();
  }
}

function folderOf(wanted: string | undefined): string | undefined {
  const own = host.cwd();
  if (wanted === undefined) return own;
  return wanted.startsWith("/") || own === undefined ? wanted : `${own}/${wanted}`;
}

/** What must be changed to get from one environment to another; null takes a variable away. */
function differences(
  from: Readonly<Record<string, string>>,
  to: Readonly<Record<string, string>>,
): Record<string, string | null> {
  const changes: Record<string, string | null> = {};
  for (const name of Object.keys(from)) if (!(name in to)) changes[name] = null;
  for (const [name, value] of Object.entries(to)) if (from[name] !== value) changes[name] = value;
  return changes;
}
