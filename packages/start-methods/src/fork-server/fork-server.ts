/** A fork server in its owner process: its start and its end. */
import { StartError } from "@multiproc/core";
import { cleanup, type ExitStatus, host, reserveSocketPath, type Subprocess } from "@multiproc/core/internal";
import type { Child } from "../launcher.ts";
import { preloadError } from "../start-failure.ts";
import { ForkRefusedError } from "./fork-refused-error.ts";
import type { ServerConfig, StartupResult } from "./protocol.ts";
import { type ForkOrder, ServerConnection } from "./server-connection.ts";

/** The options of a fork server. */
export interface ForkServerOptions {
  /** URLs of the modules that the server loads, in this order. @default [] */
  readonly preload?: readonly string[];
  /**
   * Modules of `preload` whose export `warmUp()`, if there is one, runs the first steps of a child in
   * the server. Children then inherit compiled code.
   */
  readonly warmUpModules?: readonly string[] | undefined;
  /** The number of worker threads of V8 in each child. @default 1 */
  readonly threads?: number;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly cwd?: string | undefined;
  readonly execArgv?: readonly string[] | undefined;
  readonly executable?: string | undefined;
  /** Cancels the start. */
  readonly signal?: AbortSignal | undefined;
}

/** In the build, all files of the package lie in one folder. */
const ENTRY = new URL(
  import.meta.url.endsWith(".ts") ? "../fork-server-entry.ts" : "./fork-server-entry.js",
  import.meta.url,
);

/**
 * A process that has loaded modules and forks children on request. It ends with the process that
 * started it, and its children end with it.
 */
export class ForkServer {
  /**
   * Environment variables that the server has in addition to those of its owner. io_uring is off,
   * because its ring cannot be copied and its kernel thread never appears idle. The thread pool is
   * small, because each fork inspects every thread twice. Children create their own pool.
   */
  static readonly extraEnv: Readonly<Record<string, string>> = { UV_USE_IO_URING: "0", UV_THREADPOOL_SIZE: "2" };

  readonly pid: number;
  /** The socket on which other processes request children; see {@link ServerConnection}. */
  readonly socketPath: string;
  /** Resolves when the server has ended. */
  readonly ended: Promise<ExitStatus>;
  readonly #subprocess: Subprocess;
  readonly #connection: ServerConnection;

  private constructor(subprocess: Subprocess, socketPath: string, connection: ServerConnection) {
    this.pid = subprocess.pid;
    this.socketPath = socketPath;
    this.ended = subprocess.exited;
    this.#subprocess = subprocess;
    this.#connection = connection;
  }

  /**
   * Starts a server. The promise resolves when its modules are loaded and a probe child has passed
   * the self-test.
   *
   * @throws {ForkRefusedError} if this host cannot fork; spares work everywhere
   * @throws {StartError} if a module throws, with its error as the cause, or if the server ends
   * @internal
   */
  static async start(options: ForkServerOptions = {}): Promise<ForkServer> {
    const refused = host.whyNoFork();
    if (refused !== undefined) throw new ForkRefusedError(refused);
    options.signal?.throwIfAborted();
    const socketPath = reserveSocketPath();
    const incoming = awaitConnection();
    try {
      const subprocess = await launch(options, {
        ownerSocketPath: incoming.socketPath,
        socketPath,
        ...serverConfig(options),
      });
      void subprocess.exited.then(() => {
        cleanup.forgetChild(subprocess.pid);
        host.remove(socketPath);
      });
      const abort = (): void => subprocess.kill("SIGKILL");
      options.signal?.addEventListener("abort", abort, { once: true });
      await cleanup.watchChild(subprocess.pid);
      const [connection, result] = await Promise.race([incoming.connected, exitedEarly(subprocess, options.signal)]);
      options.signal?.removeEventListener("abort", abort);
      requireReady(result, connection);
      subprocess.unref();
      return new ForkServer(subprocess, socketPath, connection);
    } finally {
      incoming.close();
    }
  }

  /** Whether the server accepts requests. */
  get isRunning(): boolean {
    return this.#connection.isOpen;
  }

  /**
   * Requests a child; see {@link ServerConnection.start}.
   *
   * @internal
   */
  start(order: ForkOrder): Promise<Child> {
    return this.#connection.start(order);
  }

  /** Ends the server and its children. */
  async close(): Promise<void> {
    this.#connection.close();
    this.#subprocess.ref();
    await this.ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function serverConfig({
  preload = [],
  warmUpModules = [],
  threads = 1,
}: ForkServerOptions): Pick<ServerConfig, "preload" | "warmUpModules" | "threads"> {
  return { preload, warmUpModules, threads };
}

async function launch(options: ForkServerOptions, config: ServerConfig): Promise<Subprocess> {
  const { env, cwd, execArgv, executable } = options;
  const args = [JSON.stringify(config)];
  const command = host.interpreter({
    entry: ENTRY,
    args,
    execArgv,
    executable,
    requiredAccess: { read: [], write: [], sockets: [] },
  });
  try {
    return await host.spawn(command.file, { args: command.args, env: { ...env, ...ForkServer.extraEnv }, cwd });
  } catch (cause) {
    throw new StartError(`Cannot start the fork server: ${(cause as Error).message}`, { cause });
  }
}

/** Listens for the one connection of the new server, and its first message. */
function awaitConnection(): {
  socketPath: string;
  connected: Promise<[ServerConnection, StartupResult]>;
  close(): void;
} {
  const socketPath = reserveSocketPath();
  let resolveConnected: (connection: [ServerConnection, StartupResult]) => void;
  const connected = new Promise<[ServerConnection, StartupResult]>((resolve) => (resolveConnected = resolve));
  const server = host.listen(
    socketPath,
    (stream) => {
      const connection: ServerConnection = new ServerConnection(stream, (result) =>
        resolveConnected([connection, result as StartupResult]),
      );
    },
    () => {}, // if this process cannot listen, the server cannot connect, and ends
  );
  const close = (): void => {
    server.close();
    host.remove(socketPath);
  };
  return { socketPath, connected, close };
}

async function exitedEarly(subprocess: Subprocess, signal: AbortSignal | undefined): Promise<never> {
  const { code, signal: killer } = await subprocess.exited;
  signal?.throwIfAborted();
  const exitText = killer === null ? `exit code ${code}` : `signal ${killer}`;
  throw new StartError(`The fork server (pid ${subprocess.pid}) ended with ${exitText} while it loaded its modules`, {
    exitCode: code,
    signal: killer,
  });
}

function requireReady(result: StartupResult, connection: ServerConnection): void {
  if ("ready" in result) return;
  connection.close(); // which ends the server
  if ("refused" in result) throw new ForkRefusedError(result.refused);
  throw preloadError("The fork server", result.failed);
}
