/**
 * Cleans up when this process ends, even by a crash or SIGKILL: removes its socket folder, and
 * kills its children.
 *
 * An exit hook removes the folder at an orderly exit. A watchdog process does the rest, see
 * `watchdog-scripts.ts`. A *process tree* is the main process with all of its descendants. All of
 * them share one socket folder. The first process that needs the folder creates it.
 */
import { ProcessError } from "../errors.ts";
import type { Subprocess } from "../host/host.ts";
import { host } from "../host/mod.ts";
import { singleton } from "../registry.ts";
import { afterForkInChild } from "./at-fork.ts";
import { childConfig } from "./child-config.ts";
import { WATCHDOG_JS, WATCHDOG_SH } from "./watchdog-scripts.ts";

/**
 * The longest path of the socket folder. A Unix socket address has room for 108 bytes, and also
 * contains the name of the socket.
 */
const MAX_SOCKET_DIR_BYTES = 80;
/** Bytes that are reserved for the folder's own name, which has a random part. */
const SOCKET_DIR_NAME_BYTES = 20;

class ProcessCleanup {
  #socketDir: string | undefined;
  #ownsSocketDir = false;
  readonly #children = new Set<number>();
  #watchdog: Promise<Subprocess | undefined> | undefined;

  /**
   * Returns the socket folder of this process tree. The first call creates it, unless the parent
   * did.
   */
  socketDir(): string {
    this.#socketDir ??= childConfig.socketPath?.slice(0, childConfig.socketPath.lastIndexOf("/"));
    if (this.#socketDir === undefined) {
      this.#socketDir = makeSocketDir();
      this.#ownsSocketDir = true;
      const socketDir = this.#socketDir;
      host.onExit(() => {
        if (this.#socketDir === socketDir && this.#ownsSocketDir) host.remove(socketDir);
      });
      const hasWatchdog = this.#watchdog !== undefined;
      const watchdog = this.#getWatchdog();
      if (hasWatchdog) void watchdog.then((watchdog) => watchdog?.write(`own ${socketDir}\n`));
    }
    return this.#socketDir;
  }

  /**
   * Makes the watchdog kill a child when this process ends. Resolves when the order is written to
   * the watchdog's pipe.
   */
  async watchChild(pid: number): Promise<void> {
    this.#children.add(pid);
    const watchdog = await this.#getWatchdog();
    await watchdog?.write(`watch ${pid}\n`);
  }

  /** Removes a child that has ended, because its pid may be reused. */
  forgetChild(pid: number): void {
    this.#children.delete(pid);
    void this.#watchdog?.then((watchdog) => watchdog?.write(`forget ${pid}\n`));
  }

  /** Starts a watchdog in the main process. For a child, the watchdog of its parent is enough. */
  ensureWatchdog(): void {
    if (childConfig.socketPath === undefined) void this.#getWatchdog();
  }

  /**
   * Resets the state in a forked child, because the folder, the watchdog and the children belong to
   * its parent.
   */
  resetAfterFork(): void {
    this.#socketDir = undefined;
    this.#ownsSocketDir = false;
    this.#children.clear();
    this.#watchdog = undefined;
  }

  #getWatchdog(): Promise<Subprocess | undefined> {
    const socketDir = (this.#ownsSocketDir ? this.#socketDir : undefined) ?? "";
    this.#watchdog ??= startWatchdog([socketDir, ...this.#children].map(String)).then((watchdog) => {
      void watchdog?.exited.then(() => this.#restartWatchdog());
      return watchdog;
    });
    return this.#watchdog;
  }

  /** Replaces a watchdog that was killed. The new one gets all children as arguments. */
  #restartWatchdog(): void {
    this.#watchdog = undefined;
    void this.#getWatchdog();
  }
}

/** The cleanup of this process. */
export const cleanup: ProcessCleanup = singleton("process cleanup", () => new ProcessCleanup());
afterForkInChild(() => cleanup.resetAfterFork());

/**
 * Starts a watchdog.
 *
 * @param args the socket folder ("" for none), then the pids of the children
 * @returns `undefined` if no program for it can be started
 */
async function startWatchdog(args: readonly string[]): Promise<Subprocess | undefined> {
  const options = { stdin: "write", stdout: "ignore", stderr: "ignore", detached: true, cwd: "/" } as const;
  const programs = [
    { file: "/bin/sh", args: ["-c", WATCHDOG_SH, "multiproc-watchdog", ...args], env: { PATH: "/usr/bin:/bin" } },
    host.evalCommand(WATCHDOG_JS, args),
  ];
  for (const program of programs) {
    if (program === undefined) continue;
    try {
      const watchdog = await host.spawn(program.file, { ...options, ...program });
      watchdog.unref();
      return watchdog;
    } catch {} // there is no shell, or no permission to run it: try the next program
  }
  // Without a watchdog, an idle child still ends when its channel closes. Only a busy child can
  // outlive a parent that was killed by SIGKILL.
  return undefined;
}

function makeSocketDir(): string {
  const failures: string[] = [];
  for (const parent of new Set([host.tempDir(), "/tmp", "/var/tmp", "/dev/shm"])) {
    if (new TextEncoder().encode(parent).length > MAX_SOCKET_DIR_BYTES - SOCKET_DIR_NAME_BYTES) {
      failures.push(`${parent}: its path is too long for the address of a socket`);
      continue;
    }
    if (parent.includes("\n")) {
      failures.push(`${JSON.stringify(parent)}: its path contains a line break`);
      continue;
    }
    try {
      return host.makePrivateDir(parent, "multiproc-");
    } catch (error) {
      failures.push(`${parent}: ${(error as Error).message}`);
    }
  }
  throw new ProcessError(
    `Cannot create a private folder for sockets (${failures.join("; ")}): set TMPDIR to a folder that this process can write to`,
    { code: "ERR_NO_TEMP_DIR" },
  );
}
