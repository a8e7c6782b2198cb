/** Nothing outlives its owner: the private folder of a family of processes, and the guard of each; see `guard.ts`. */
import { ProcessError } from "../errors.ts";
import type { Subprocess } from "../host/host.ts";
import { host } from "../host/mod.ts";
import { singleton } from "../registry.ts";
import { afterFork } from "./at-fork.ts";
import { inherited } from "./child-config.ts";
import { SCRIPT_GUARD, SHELL_GUARD } from "./watchdog-scripts.ts";

/** A socket's address holds so many bytes, with the names of our sockets in the folder counted in. */
const LONGEST_FOLDER = 80;

class Lifetime {
  /** The folder of this family of processes: made by the first that needs it, named to its children. */
  #folder: string | undefined;
  #ownsFolder = false;
  readonly #children = new Set<number>();
  #guard: Promise<Subprocess | undefined> | undefined;

  /** The private folder of this family; made when it is first asked for. */
  folder(): string {
    this.#folder ??= inherited.place?.slice(0, inherited.place.lastIndexOf("/"));
    if (this.#folder === undefined) {
      this.#folder = makeFolder();
      this.#ownsFolder = true;
      const folder = this.#folder;
      host.onExit(() => {
        if (this.#folder === folder && this.#ownsFolder) host.remove(folder);
      });
      const hasGuard = this.#guard !== undefined;
      const guard = this.#guarded();
      if (hasGuard) void guard.then((guard) => guard?.write(`own ${folder}\n`));
    }
    return this.#folder;
  }

  /** Has a child killed when this process is gone; settles when that is certain. */
  async watch(pid: number): Promise<void> {
    this.#children.add(pid);
    const guard = await this.#guarded();
    await guard?.write(`watch ${pid}\n`);
  }

  /** The child has ended; its pid may soon be another's. */
  forget(pid: number): void {
    this.#children.delete(pid);
    void this.#guard?.then((guard) => guard?.write(`forget ${pid}\n`));
  }

  /** Sees to it that there is a guard: for a child, that of its parent is there already. */
  ensureGuard(): void {
    if (inherited.place === undefined) void this.#guarded();
  }

  /** In a forked child: folder, guard and children are its parent's. */
  begin(): void {
    this.#folder = undefined;
    this.#ownsFolder = false;
    this.#children.clear();
    this.#guard = undefined;
  }

  #guarded(): Promise<Subprocess | undefined> {
    const folder = (this.#ownsFolder ? this.#folder : undefined) ?? "";
    this.#guard ??= startGuard([folder, ...this.#children].map(String)).then((guard) => {
      void guard?.exited.then(() => this.#replace());
      return guard;
    });
    return this.#guard;
  }

  /** Somebody killed the guard: another takes over, and is told of all children as it starts. */
  #replace(): void {
    this.#guard = undefined;
    void this.#guarded();
  }
}

/** What this process owns. */
export const lifetime: Lifetime = singleton("lifetime", () => new Lifetime());
afterFork(() => lifetime.begin());

/** Starts a guard that knows the folder (none if empty) and the children from its arguments. */
async function startGuard(args: readonly string[]): Promise<Subprocess | undefined> {
  const options = { stdin: "write", stdout: "ignore", stderr: "ignore", detached: true, cwd: "/" } as const;
  const programs = [
    { file: "/bin/sh", args: ["-c", SHELL_GUARD, "multiproc-guard", ...args], env: { PATH: "/usr/bin:/bin" } },
    host.evaluate(SCRIPT_GUARD, args),
  ];
  for (const program of programs) {
    if (program === undefined) continue;
    try {
      const guard = await host.spawn(program.file, { ...options, ...program });
      guard.unref();
      return guard;
    } catch {} // no shell, or no permission to run it: the next one
  }
  // Idle children still end with their channel; only a busy one can outlast a SIGKILLed parent now.
  return undefined;
}

function makeFolder(): string {
  const refusals: string[] = [];
  for (const parent of new Set([host.tempDir(), "/tmp", "/var/tmp", "/dev/shm"])) {
    if (new TextEncoder().encode(parent).length > LONGEST_FOLDER - 20) {
      refusals.push(`${parent}: its name is too long for a socket in it`);
      continue;
    }
    if (parent.includes("\n")) {
      refusals.push(`${JSON.stringify(parent)}: a guard is told of it in one line`);
      continue;
    }
    try {
      return host.makePrivateDir(parent, "multiproc-");
    } catch (error) {
      refusals.push(`${parent}: ${(error as Error).message}`);
    }
  }
  throw new ProcessError(
    `No private folder for sockets could be made; set TMPDIR to one that this process may write to (${refusals.join("; ")})`,
    { code: "ERR_NO_TEMP_DIR" },
  );
}
