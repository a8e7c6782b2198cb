/** Nothing outlives its owner: the private folder of a family of processes, and the guard of each; see `guard.ts`. */
import { ProcessError } from "../errors.ts";
import type { Subprocess } from "../host/host.ts";
import { host } from "../host/mod.ts";
import { singleton } from "../registry.ts";
import { afterForkInChild } from "./at-fork.ts";
import { childConfig } from "./child-config.ts";
import { WATCHDOG_JS, WATCHDOG_SH } from "./watchdog-scripts.ts";

/** A socket's address holds so many bytes, with the names of our sockets in the folder counted in. */
const MAX_SOCKET_DIR_BYTES = 80;

class ProcessCleanup {
  /** The folder of this family of processes: made by the first that needs it, named to its children. */
  #socketDir: string | undefined;
  #ownsSocketDir = false;
  readonly #children = new Set<number>();
  #watchdog: Promise<Subprocess | undefined> | undefined;

  /** The private folder of this family; made when it is first asked for. */
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

  /** Has a child killed when this process is gone; settles when that is certain. */
  async watchChild(pid: number): Promise<void> {
    this.#children.add(pid);
    const watchdog = await this.#getWatchdog();
    await watchdog?.write(`watch ${pid}\n`);
  }

  /** The child has ended; its pid may soon be another's. */
  forgetChild(pid: number): void {
    this.#children.delete(pid);
    void this.#watchdog?.then((watchdog) => watchdog?.write(`forget ${pid}\n`));
  }

  /** Sees to it that there is a guard: for a child, that of its parent is there already. */
  ensureWatchdog(): void {
    if (childConfig.socketPath === undefined) void this.#getWatchdog();
  }

  /** In a forked child: folder, guard and children are its parent's. */
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

  /** Somebody killed the guard: another takes over, and is told of all children as it starts. */
  #restartWatchdog(): void {
    this.#watchdog = undefined;
    void this.#getWatchdog();
  }
}

/** What this process owns. */
export const cleanup: ProcessCleanup = singleton("process cleanup", () => new ProcessCleanup());
afterForkInChild(() => cleanup.resetAfterFork());

/** Starts a guard that knows the folder (none if empty) and the children from its arguments. */
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
    } catch {} // no shell, or no permission to run it: the next one
  }
  // Idle children still end with their channel; only a busy one can outlast a SIGKILLed parent now.
  return undefined;
}

function makeSocketDir(): string {
  const failures: string[] = [];
  for (const parent of new Set([host.tempDir(), "/tmp", "/var/tmp", "/dev/shm"])) {
    if (new TextEncoder().encode(parent).length > MAX_SOCKET_DIR_BYTES - 20) {
      failures.push(`${parent}: its name is too long for a socket in it`);
      continue;
    }
    if (parent.includes("\n")) {
      failures.push(`${JSON.stringify(parent)}: a guard is told of it in one line`);
      continue;
    }
    try {
      return host.makePrivateDir(parent, "multiproc-");
    } catch (error) {
      failures.push(`${parent}: ${(error as Error).message}`);
    }
  }
  throw new ProcessError(
    `No private folder for sockets could be made; set TMPDIR to one that this process may write to (${failures.join("; ")})`,
    { code: "ERR_NO_TEMP_DIR" },
  );
}
