/**
 * Nothing outlives its owner.
 *
 * Every process that has children has one *guard*: a tiny program that reads from a pipe which only its owner holds. The
 * owner tells it of each child before that child runs any user code. When the owner is gone, however it went, the kernel
 * closes the pipe: the guard kills the children that are left, removes the private folder, and ends.
 *
 * ```text
 *   owner ──pipe── guard          owner is SIGKILLed:   guard ── SIGKILL ──> child
 *     ├── child                                           └──── rm -rf ────> private folder
 *     └── child ──pipe── its own guard                  child is gone: its own guard does the same below it
 * ```
 *
 * So a child that is stuck in an endless loop goes as well, and it pays nothing for that: no thread, no timer. The guard is
 * a shell script (under 1 MB, no start-up); where there is no shell, the host's interpreter runs the same in JavaScript.
 */
import { ProcessError } from "./errors.ts";
import { host } from "./host/mod.ts";
import type { Subprocess } from "./host/host.ts";
import { singleton } from "./registry.ts";

const SHELL_GUARD = `
trap '' HUP INT QUIT TERM PIPE TSTP
children=
while read -r word pid; do
  case $word in
    watch) children="$children $pid" ;;
    forget) rest=; for c in $children; do [ "$c" = "$pid" ] || rest="$rest $c"; done; children=$rest ;;
  esac
done
for c in $children; do kill -9 "$c"; done
[ -z "$1" ] || rm -rf -- "$1"
`;

const SCRIPT_GUARD = `
for (const signal of ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"]) try { process.on(signal, () => {}); } catch {}
const children = new Set();
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const [word, pid] = line.split(" ");
  if (word === "watch") children.add(Number(pid)); else children.delete(Number(pid));
}).on("close", () => {
  for (const pid of children) try { process.kill(pid, "SIGKILL"); } catch {}
  const folder = process.argv.at(-1);
  if (folder !== "--") require("fs").rmSync(folder, { recursive: true, force: true });
});
`;

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
    if (this.#folder === undefined) {
      this.#folder = makeFolder();
      this.#ownsFolder = true;
      const folder = this.#folder;
      host.onExit(() => host.remove(folder));
      void this.#guarded();
    }
    return this.#folder;
  }

  /** Uses the folder that an ancestor made, and will remove. */
  inheritFolder(folder: string): void {
    this.#folder = folder;
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

  #guarded(): Promise<Subprocess | undefined> {
    this.#guard ??= startGuard(this.#ownsFolder ? this.#folder : undefined).then((guard) => {
      void guard?.exited.then(() => this.#replace());
      return guard;
    });
    return this.#guard;
  }

  /** Somebody killed the guard: another takes over. */
  async #replace(): Promise<void> {
    this.#guard = undefined;
    const guard = await this.#guarded();
    for (const pid of this.#children) void guard?.write(`watch ${pid}\n`);
  }
}

/** What this process owns. */
export const lifetime: Lifetime = singleton("lifetime", () => new Lifetime());

async function startGuard(folder: string | undefined): Promise<Subprocess | undefined> {
  const options = { stdin: "write", stdout: "ignore", stderr: "ignore", detached: true, cwd: "/" } as const;
  const args = folder === undefined ? [] : [folder];
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
