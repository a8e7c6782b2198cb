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
import { resetProcess } from "./reset-process.ts";
import { ThreadStates } from "./thread-states.ts";
import { findPlatform, type Platform } from "./v8-platform.ts";
import { reapNow } from "./waitpid.ts";

/** What became of a fork: this is the parent, this is the child, or there was none. */
export type ForkResult =
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
  memoryChanged: number;
  /** Another thread ran meanwhile. */
  threadRan: number;
  /** The child did not say hello. */
  notReady: number;
}

/** What is wrong with a copy. */
type CopyDefect = Exclude<keyof ForkCounts, "forks">;

const MAX_ATTEMPTS = 50;
/** How long a fork may take with all its attempts, in milliseconds; it ends with the attempt that is under way then. */
const FORK_TIMEOUT_MS = 5000;
/** How long a copy may take to its hello: on a busy machine it may not be given the processor before. */
const READY_TIMEOUT_MS = 2000;
/** A copy whose threads were all asleep at each of so many looks, so many milliseconds apart, will never say it. */
const SNAPSHOTS_UNTIL_HUNG = 3;
const SNAPSHOT_INTERVAL_MS = 20;
/** V8 allocates for code that runs for the first times; what a child runs before its hello has run this often before. */
const WARM_UP_ROUNDS = 50;
const CHILD_RESULT: ForkResult = { role: "child" };

/** Forks this process. */
export class Forker {
  readonly counts: ForkCounts = { forks: 0, memoryChanged: 0, threadRan: 0, notReady: 0 };
  readonly #native: Native;
  readonly #libc: Libc;
  readonly #platform: Platform;
  readonly #addressSpace: AddressSpace;
  readonly #threads: ThreadStates;
  readonly #uvLoop: number;
  readonly #uvLoopFork: (uvLoop: number) => number;
  // Each has a buffer from the start. V8 keeps a small array within its heap until C wants its address, and would make the buffer
  // in the child, before it has its threads back: an allocation that may collect garbage, and wait for them for ever.
  readonly #gate = new Int32Array(new ArrayBuffer(8));
  readonly #ready = new Int32Array(new ArrayBuffer(8));
  readonly #oneByte = new Uint8Array(new ArrayBuffer(1)).fill(1);
  readonly #readBuffer = new Uint8Array(new ArrayBuffer(1));
  readonly #pollFds = new Int32Array(new ArrayBuffer(8));
  /** The address of a new platform, in two halves. */
  readonly #newPlatform = new Uint32Array(new ArrayBuffer(8));

  private constructor(native: Native, platform: Platform, addressSpace: AddressSpace, threads: ThreadStates) {
    this.#native = native;
    this.#libc = native.libc;
    this.#platform = platform;
    this.#addressSpace = addressSpace;
    this.#threads = threads;
    this.#uvLoop = native.declare("uv_default_loop", ["address"])?.() ?? 0;
    this.#uvLoopFork = native.declare("uv_loop_fork", ["i32", "address"]) as (loop: number) => number;
  }

  /** Makes this process ready to fork; once. */
  static open(native: Native): Forker | ForkRefusal {
    if (process.platform !== "linux" || !ThreadStates.isSupported || "Deno" in globalThis || "Bun" in globalThis) {
      return refusal("platform", "forking takes Node on Linux, on x64 or arm64");
    }
    try {
      const platform = findPlatform(native);
      if ("reason" in platform) return platform;
      if (native.symbol("uv_loop_fork") === undefined || native.symbol("uv_default_loop") === undefined) {
        return refusal("symbols", "this build of Node does not export libuv");
      }
      const addressSpace = new AddressSpace(native);
      const forker = new Forker(native, platform, addressSpace, new ThreadStates());
      return addressSpace.survey() ?? forker.#warmUp() ?? forker;
    } catch (error) {
      return refusal("proc", `/proc cannot be used here: ${(error as Error).message}`);
    }
  }

  /** What keeps this process from being copied now; "busy" where that may pass by itself. */
  blocker(): ForkRefusal | "busy" | undefined {
    const snapshot = this.#threads.snapshot();
    if (snapshot === undefined) return "busy";
    return typeof snapshot === "string" ? undefined : snapshot;
  }

  /** Forks; returns in the parent and in the child. Blocks for a few milliseconds. */
  fork(options: ForkOptions = {}): ForkResult {
    const deadline = performance.now() + FORK_TIMEOUT_MS;
    const countsBefore = { ...this.counts };
    pauseCompilation();
    try {
      for (let attempt = 1; ; attempt++) {
        const result = this.#attempt(options);
        if (typeof result === "object") return result;
        this.counts[result] += 1;
        if (attempt === MAX_ATTEMPTS || performance.now() > deadline)
          return { role: "refused", refusal: this.#unstableRefusal(countsBefore) };
        // What a copy hung in, the next one would run into too: with other garbage it may not.
        if (result === "notReady") collectGarbage();
      }
    } finally {
      resumeCompilation();
    }
  }

  /** Forks; what is wrong with the copy if it had to be thrown away. */
  #attempt(options: ForkOptions): ForkResult | CopyDefect {
    const snapshotBefore = this.#threads.waitUntilParked();
    if (typeof snapshotBefore !== "string") return { role: "refused", refusal: snapshotBefore };
    if (!this.#openPipes()) return { role: "refused", refusal: this.#systemRefusal() };
    this.#beginChild(options, true);
    const pagesBefore = this.#addressSpace.pageCount();
    this.#addressSpace.markForChild();
    const pid = this.#libc.fork();
    if (pid === 0) {
      this.#beginChild(options, false);
      this.#addressSpace.reset();
      this.#threads.reset(this.#libc.getpid());
      resetProcess(this.#native);
      return CHILD_RESULT;
    }
    if (pid < 0) return { role: "refused", refusal: this.#systemRefusal() };
    const defect = this.#verify(pid, pagesBefore, snapshotBefore);
    if (defect === undefined) return this.#release(pid);
    this.#discard(pid);
    return defect;
  }

  /** Why no copy was a good one. */
  #unstableRefusal(countsBefore: ForkCounts): ForkRefusal {
    const { memoryChanged, threadRan, notReady } = this.counts;
    const causes = [
      [memoryChanged - countsBefore.memoryChanged, "mapped memory meanwhile"],
      [threadRan - countsBefore.threadRan, "had another thread at work"],
      [notReady - countsBefore.notReady, "did not come up"],
    ] as const;
    const found = causes.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
    const total = causes.reduce((sum, [count]) => sum + count, 0);
    return refusal("unstable", `none of ${total} copies of the process was a clean one: ${found.join(", ")}`);
  }

  #openPipes(): boolean {
    this.#gate.fill(-1);
    this.#ready.fill(-1);
    return this.#libc.pipe2(this.#gate, O_CLOEXEC) === 0 && this.#libc.pipe2(this.#ready, O_CLOEXEC) === 0;
  }

  /**
   * What a child does first. It must not make V8 wait for the threads that it has not: no compilation, no collection. That
   * it was just rehearsed keeps it compiled.
   */
  #beginChild(options: ForkOptions, isWarmUp: boolean): void {
    const libc = this.#libc;
    const { create, tracingController, runnerOffset, runnerAddress } = this.#platform;
    const newPlatform = this.#newPlatform;
    const { threads = 1, diesWithParent = false, fault } = options;
    const gate = this.#gate[0] as number;
    const ready = this.#ready[1] as number;
    if (isWarmUp) return;
    if (fault !== undefined) fault();
    create(newPlatform, threads, tracingController, 0);
    // The new platform is left where it is; what it has besides its threads is never used.
    libc.memcpy(runnerAddress, (newPlatform[0] as number) + (newPlatform[1] as number) * 2 ** 32 + runnerOffset, 16);
    this.#uvLoopFork(this.#uvLoop);
    if (diesWithParent) libc.prctl(PR_SET_PDEATHSIG, SIGKILL);
    libc.write(ready, this.#oneByte, 1);
    libc.close(this.#gate[1] as number);
    // The parent found the copy bad and will kill it, or is gone itself.
    if (libc.read(gate, this.#readBuffer, 1) !== 1) libc._exit(255);
    libc.close(gate);
    libc.close(ready);
    libc.close(this.#ready[0] as number);
  }

  /** What is wrong with the copy; closes the child's ends of the pipes. */
  #verify(pid: number, pagesBefore: number, snapshotBefore: string): CopyDefect | undefined {
    const pagesNow = this.#addressSpace.pageCount();
    this.#libc.close(this.#gate[0] as number);
    this.#libc.close(this.#ready[1] as number);
    if (pagesNow !== pagesBefore) return "memoryChanged";
    if (this.#threads.snapshot() !== snapshotBefore) return "threadRan";
    return this.#waitReady(pid) && this.#libc.read(this.#ready[0] as number, this.#readBuffer, 1) === 1
      ? undefined
      : "notReady";
  }

  /** Waits until the child says hello or ends, but not for one that hangs. */
  #waitReady(pid: number): boolean {
    let asleepCount = 0;
    let lastSnapshot: string | undefined;
    for (let waitedMs = 0; waitedMs < READY_TIMEOUT_MS; waitedMs += SNAPSHOT_INTERVAL_MS) {
      this.#pollFds[0] = this.#ready[0] as number;
      this.#pollFds[1] = POLLIN; // and 0 in the upper half: no events yet
      if (this.#libc.poll(this.#pollFds, 1, SNAPSHOT_INTERVAL_MS) === 1) return true;
      const snapshot = this.#threads.snapshotOf(pid);
      asleepCount = snapshot !== undefined && snapshot === lastSnapshot ? asleepCount + 1 : 0;
      if (asleepCount === SNAPSHOTS_UNTIL_HUNG) return false;
      lastSnapshot = snapshot;
    }
    return false;
  }

  #release(pid: number): ForkResult {
    this.counts.forks += 1;
    this.#libc.write(this.#gate[1] as number, this.#oneByte, 1);
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
    this.#libc.close(this.#ready[0] as number);
  }

  #systemRefusal(): ForkRefusal {
    const code = this.#native.errno();
    for (const fd of [...this.#gate, ...this.#ready]) if (fd >= 0) this.#libc.close(fd);
    const name = process.getBuiltinModule("node:util").getSystemErrorName(-code);
    return refusal(
      "system",
      `the system starts no more processes, opens no more files, or has too little memory for one (${name})`,
    );
  }

  #warmUp(): ForkRefusal | undefined {
    for (let i = 0; i < WARM_UP_ROUNDS; i++) {
      this.#beginChild({}, true);
      this.#threads.reset(process.pid); // as in a child; what it forgets is looked at again
      this.#addressSpace.reset();
      this.#addressSpace.pageCount();
      this.#addressSpace.markForChild();
      // What else may be in the way now, a fork finds out when it is time.
      const snapshot = this.#threads.snapshot();
      if (typeof snapshot === "object" && snapshot.reason === "proc") return snapshot;
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
