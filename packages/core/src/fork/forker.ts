/**
 * A real `fork()` of a running Node on Linux, checked like a seqlock.
 *
 * ```text
 * parent                                             child
 *   the other threads rest; their counts are kept
 *   pipes: gate (to the child), hello (from it)
 *   size of memory is kept; memory is marked
 *   fork() ──────────────────────────────────────────> V8 gets new worker threads, libuv a new epoll
 *   same size, same counts?  <───────── hello ───────── waits at the gate
 *     yes: one byte through the gate ────────────────> puts right what is its own, runs
 *     no:  SIGKILL, and again
 * ```
 *
 * If the size of the memory changed between the marking and the fork, pages may be missing in the child; if another thread ran, a
 * lock or a job may have been copied half done. Such a copy is thrown away before it could do anything. So is one that
 * dies or hangs before its hello. In 100 forks it happens once or twice, and costs 2 ms, or some 50 for one that hangs.
 */
import { O_CLOEXEC, POLLIN, PR_SET_PDEATHSIG, SIGKILL } from "../native/linux.ts";
import type { Libc, Native } from "../native/native.ts";
import { AddressSpace } from "./address-space.ts";
import { pauseCompilation, resumeCompilation } from "./background-compilation.ts";
import { collectGarbage } from "./collect-garbage.ts";
import { type ForkRefusal, refusal } from "./fork-refusal.ts";
import { renewProcess } from "./reset-process.ts";
import { Threads } from "./thread-states.ts";
import { findPlatform, type Platform } from "./v8-platform.ts";
import { reapNow } from "./waitpid.ts";

/** What became of a fork: this is the parent, this is the child, or there was none. */
export type Fork =
  | { readonly role: "parent"; readonly pid: number }
  | { readonly role: "child" }
  | { readonly role: "refused"; readonly refusal: ForkRefusal };

/** How a child is made. */
export interface ForkOptions {
  /** How many worker threads V8 gets in the child. @default 1 */
  readonly threads?: number;
  /** Whether the kernel kills the child when this process ends, however it ends. @default false */
  readonly diesWithParent?: boolean;
  /** Stands in for a child that is lost: called first of all in the child. For tests. */
  readonly fault?: (() => void) | undefined;
}

/** How often copies had to be thrown away, and why. */
export interface ForkCounts {
  /** Forks that gave a child. */
  forks: number;
  /** Memory was mapped meanwhile. */
  memory: number;
  /** Another thread ran meanwhile. */
  threads: number;
  /** The child did not say hello. */
  hello: number;
}

/** What is wrong with a copy. */
type Flaw = Exclude<keyof ForkCounts, "forks">;

const ATTEMPTS = 50;
/** How long a fork may take with all its attempts, in milliseconds; it ends with the attempt that is under way then. */
const PATIENCE = 5000;
/** How long a copy may take to its hello: on a busy machine it may not be given the processor before. */
const HELLO_TIMEOUT = 2000;
/** A copy whose threads were all asleep at each of so many looks, so many milliseconds apart, will never say it. */
const LOOKS = 3;
const LOOK_EVERY = 20;
/** V8 allocates for code that runs for the first times; what a child runs before its hello has run this often before. */
const REHEARSALS = 50;
const CHILD: Fork = { role: "child" };

/** Forks this process. */
export class Forker {
  readonly counts: ForkCounts = { forks: 0, memory: 0, threads: 0, hello: 0 };
  readonly #native: Native;
  readonly #libc: Libc;
  readonly #platform: Platform;
  readonly #space: AddressSpace;
  readonly #threads: Threads;
  readonly #loop: number;
  readonly #loopFork: (loop: number) => number;
  // Each has a buffer from the start. V8 keeps a small array within its heap until C wants its address, and would make the buffer
  // in the child, before it has its threads back: an allocation that may collect garbage, and wait for them for ever.
  readonly #gate = new Int32Array(new ArrayBuffer(8));
  readonly #hello = new Int32Array(new ArrayBuffer(8));
  readonly #byte = new Uint8Array(new ArrayBuffer(1)).fill(1);
  readonly #answer = new Uint8Array(new ArrayBuffer(1));
  readonly #polled = new Int32Array(new ArrayBuffer(8));
  /** The address of a new platform, in two halves. */
  readonly #created = new Uint32Array(new ArrayBuffer(8));

  private constructor(native: Native, platform: Platform, space: AddressSpace, threads: Threads) {
    this.#native = native;
    this.#libc = native.libc;
    this.#platform = platform;
    this.#space = space;
    this.#threads = threads;
    this.#loop = native.declare("uv_default_loop", ["address"])?.() ?? 0;
    this.#loopFork = native.declare("uv_loop_fork", ["i32", "address"]) as (loop: number) => number;
  }

  /** Makes this process ready to fork; once. */
  static open(native: Native): Forker | ForkRefusal {
    if (process.platform !== "linux" || !Threads.areKnown || "Deno" in globalThis || "Bun" in globalThis) {
      return refusal("platform", "forking takes Node on Linux, on x64 or arm64");
    }
    try {
      const platform = findPlatform(native);
      if ("reason" in platform) return platform;
      if (native.symbol("uv_loop_fork") === undefined || native.symbol("uv_default_loop") === undefined) {
        return refusal("symbols", "this build of Node does not export libuv");
      }
      const space = new AddressSpace(native);
      const forker = new Forker(native, platform, space, new Threads());
      return space.survey() ?? forker.#rehearse() ?? forker;
    } catch (error) {
      return refusal("proc", `/proc cannot be used here: ${(error as Error).message}`);
    }
  }

  /** What keeps this process from being copied now; "busy" where that may pass by itself. */
  obstacle(): ForkRefusal | "busy" | undefined {
    const seen = this.#threads.look();
    if (seen === undefined) return "busy";
    return typeof seen === "string" ? undefined : seen;
  }

  /** Forks; returns in the parent and in the child. Blocks for a few milliseconds. */
  fork(options: ForkOptions = {}): Fork {
    const deadline = performance.now() + PATIENCE;
    const before = { ...this.counts };
    pauseCompilation();
    try {
      for (let attempt = 1; ; attempt++) {
        const made = this.#attempt(options);
        if (typeof made === "object") return made;
        this.counts[made] += 1;
        if (attempt === ATTEMPTS || performance.now() > deadline)
          return { role: "refused", refusal: this.#unstable(before) };
        // What a copy hung in, the next one would run into too: with other garbage it may not.
        if (made === "hello") collectGarbage();
      }
    } finally {
      resumeCompilation();
    }
  }

  /** Forks; what is wrong with the copy if it had to be thrown away. */
  #attempt(options: ForkOptions): Fork | Flaw {
    const before = this.#threads.rest();
    if (typeof before !== "string") return { role: "refused", refusal: before };
    if (!this.#openPipes()) return { role: "refused", refusal: this.#systemRefused() };
    this.#beginChild(options, true);
    const size = this.#space.size();
    this.#space.markForChild();
    const pid = this.#libc.fork();
    if (pid === 0) {
      this.#beginChild(options, false);
      this.#space.renew();
      this.#threads.renew(this.#libc.getpid());
      renewProcess(this.#native);
      return CHILD;
    }
    if (pid < 0) return { role: "refused", refusal: this.#systemRefused() };
    const flaw = this.#judge(pid, size, before);
    if (flaw === undefined) return this.#release(pid);
    this.#discard(pid);
    return flaw;
  }

  /** Why no copy was a good one. */
  #unstable(before: ForkCounts): ForkRefusal {
    const { memory, threads, hello } = this.counts;
    const causes = [
      [memory - before.memory, "mapped memory meanwhile"],
      [threads - before.threads, "had another thread at work"],
      [hello - before.hello, "did not come up"],
    ] as const;
    const seen = causes.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
    const total = causes.reduce((sum, [count]) => sum + count, 0);
    return refusal("unstable", `none of ${total} copies of the process was a clean one: ${seen.join(", ")}`);
  }

  #openPipes(): boolean {
    this.#gate.fill(-1);
    this.#hello.fill(-1);
    return this.#libc.pipe2(this.#gate, O_CLOEXEC) === 0 && this.#libc.pipe2(this.#hello, O_CLOEXEC) === 0;
  }

  /**
   * What a child does first. It must not make V8 wait for the threads that it has not: no compilation, no collection. That
   * it was just rehearsed keeps it compiled.
   */
  #beginChild(options: ForkOptions, isRehearsal: boolean): void {
    const libc = this.#libc;
    const { create, tracingController, offset, runner } = this.#platform;
    const created = this.#created;
    const { threads = 1, diesWithParent = false, fault } = options;
    const gate = this.#gate[0] as number;
    const hello = this.#hello[1] as number;
    if (isRehearsal) return;
    if (fault !== undefined) fault();
    create(created, threads, tracingController, 0);
    // The new platform is left where it is; what it has besides its threads is never used.
    libc.memcpy(runner, (created[0] as number) + (created[1] as number) * 2 ** 32 + offset, 16);
    this.#loopFork(this.#loop);
    if (diesWithParent) libc.prctl(PR_SET_PDEATHSIG, SIGKILL);
    libc.write(hello, this.#byte, 1);
    libc.close(this.#gate[1] as number);
    // The parent found the copy bad and will kill it, or is gone itself.
    if (libc.read(gate, this.#answer, 1) !== 1) libc._exit(255);
    libc.close(gate);
    libc.close(hello);
    libc.close(this.#hello[0] as number);
  }

  /** What is wrong with the copy; closes the child's ends of the pipes. */
  #judge(pid: number, size: number, before: string): Flaw | undefined {
    const sizeNow = this.#space.size();
    this.#libc.close(this.#gate[0] as number);
    this.#libc.close(this.#hello[1] as number);
    if (sizeNow !== size) return "memory";
    if (this.#threads.look() !== before) return "threads";
    return this.#hears(pid) && this.#libc.read(this.#hello[0] as number, this.#answer, 1) === 1 ? undefined : "hello";
  }

  /** Waits until the child says hello or ends, but not for one that hangs. */
  #hears(pid: number): boolean {
    let asleep = 0;
    let last: string | undefined;
    for (let waited = 0; waited < HELLO_TIMEOUT; waited += LOOK_EVERY) {
      this.#polled[0] = this.#hello[0] as number;
      this.#polled[1] = POLLIN; // and 0 in the upper half: no events yet
      if (this.#libc.poll(this.#polled, 1, LOOK_EVERY) === 1) return true;
      const seen = this.#threads.lookAt(pid);
      asleep = seen !== undefined && seen === last ? asleep + 1 : 0;
      if (asleep === LOOKS) return false;
      last = seen;
    }
    return false;
  }

  #release(pid: number): Fork {
    this.counts.forks += 1;
    this.#libc.write(this.#gate[1] as number, this.#byte, 1);
    this.#closeParentEnds();
    return { role: "parent", pid };
  }

  #discard(pid: number): void {
    this.#libc.kill(pid, SIGKILL);
    this.#closeParentEnds();
    reapNow(this.#native, pid);
  }

  #closeParentEnds(): void {
    this.#libc.close(this.#gate[1] as number);
    this.#libc.close(this.#hello[0] as number);
  }

  #systemRefused(): ForkRefusal {
    const error = this.#native.errno();
    for (const end of [...this.#gate, ...this.#hello]) if (end >= 0) this.#libc.close(end);
    const name = process.getBuiltinModule("node:util").getSystemErrorName(-error);
    return refusal(
      "system",
      `the system starts no more processes, opens no more files, or has too little memory for one (${name})`,
    );
  }

  #rehearse(): ForkRefusal | undefined {
    for (let i = 0; i < REHEARSALS; i++) {
      this.#beginChild({}, true);
      this.#threads.renew(process.pid); // as in a child; what it forgets is looked at again
      this.#space.renew();
      this.#space.size();
      this.#space.markForChild();
      // What else may be in the way now, a fork finds out when it is time.
      const seen = this.#threads.look();
      if (typeof seen === "object" && seen.reason === "proc") return seen;
    }
    // The functions that only a child calls are bound here, in the parent.
    for (const name of [
      "fork",
      "read",
      "write",
      "close",
      "prctl",
      "memcpy",
      "_exit",
      "kill",
      "poll",
      "pipe2",
      "waitpid",
      "getpid",
    ] as const) {
      void this.#libc[name];
    }
    return undefined;
  }
}
