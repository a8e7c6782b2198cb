/**
 * Forks a running Node process on Linux with a real `fork()`, and validates the copy as a seqlock
 * validates a read.
 *
 * ```text
 * parent                                                 child
 *   waits until all other threads are parked: snapshot
 *   opens two pipes: gate (to child), ready (from child)
 *   reads the memory size, marks all memory MADV_DOFORK
 *   fork() ────────────────────────────────────────────> gives V8 new worker threads, libuv a new epoll
 *   memory size and snapshot unchanged?  <──── ready ──── waits at the gate
 *     yes: writes one byte to the gate ────────────────> resets the state of its process, runs
 *     no:  SIGKILL, next attempt
 * ```
 *
 * A changed memory size means that pages may be missing in the child. A changed snapshot means that
 * another thread ran, and that a lock or a job may have been copied half-done. The parent discards
 * such a *defective copy* before it can have an effect. It also discards a copy that dies or hangs
 * before it is ready. In 100 forks, 1 or 2 copies are defective. Each costs 2 ms, or 0.1 s if it
 * hangs.
 */

import { type ForkRefusal, refusal, whyNoForkOn } from "../host/fork-refusal.ts";
import { O_CLOEXEC, POLLIN, PR_SET_PDEATHSIG, SIGKILL } from "../native/linux.ts";
import type { Libc, Native } from "../native/native.ts";
import { AddressSpace } from "./address-space.ts";
import { pauseCompilation, resumeCompilation } from "./background-compilation.ts";
import { collectGarbage } from "./collect-garbage.ts";
import { resetProcess } from "./reset-process.ts";
import { ThreadStates } from "./thread-states.ts";
import { findPlatform, type Platform } from "./v8-platform.ts";
import { reapNow } from "./waitpid.ts";

/** The result of a fork: this process is the parent or the child, or there was no fork. */
export type ForkResult =
  | { readonly role: "parent"; readonly pid: number }
  | { readonly role: "child" }
  | { readonly role: "refused"; readonly refusal: ForkRefusal };

/** Options of a fork. */
export interface ForkOptions {
  /** The number of worker threads of V8 in the child. @default 1 */
  readonly threads?: number;
  /** Whether the kernel kills the child when this process ends for any reason. @default false */
  readonly diesWithParent?: boolean;
  /** For tests: the child calls it first, to simulate a copy that hangs or dies. */
  readonly fault?: (() => void) | undefined;
}

/** The numbers of good copies, and of defective copies by defect. */
export interface ForkCounts {
  /** Forks that produced a child. */
  forks: number;
  /** Copies during which memory was mapped or unmapped. */
  memoryChanged: number;
  /** Copies during which another thread ran. */
  threadRan: number;
  /** Copies that died or hung before they were ready. */
  notReady: number;
}

/** The defect of a copy. */
type CopyDefect = Exclude<keyof ForkCounts, "forks">;

const MAX_ATTEMPTS = 50;
/** The time after which a fork starts no further attempt. */
const FORK_TIMEOUT_MS = 5000;
/**
 * The time after which a copy counts as hung. It is long, because on a busy machine the copy may
 * wait for a processor.
 */
const READY_TIMEOUT_MS = 2000;
/**
 * A copy also counts as hung if its snapshot was the same as the previous one this many times in a
 * row. Its threads have then slept all the time.
 */
const UNCHANGED_SNAPSHOTS_UNTIL_HUNG = 3;
const SNAPSHOT_INTERVAL_MS = 20;
/**
 * The number of times that the child's first code runs before the first fork. V8 allocates while
 * code is new, which a child must not do.
 */
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
  // These arrays have buffers from the start. V8 keeps a small array in its heap until C needs the
  // address, and then allocates a buffer. In the child that could start a garbage collection, which
  // would wait forever for threads that the child does not have yet.
  readonly #gate = new Int32Array(new ArrayBuffer(8));
  readonly #ready = new Int32Array(new ArrayBuffer(8));
  readonly #oneByte = new Uint8Array(new ArrayBuffer(1)).fill(1);
  readonly #readBuffer = new Uint8Array(new ArrayBuffer(1));
  readonly #pollFds = new Int32Array(new ArrayBuffer(8));
  /** The address of the new platform, in two words. */
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

  /** Prepares this process for forking. Call it once. */
  static open(native: Native): Forker | ForkRefusal {
    const { platform, arch } = process;
    const isNode = !("Deno" in globalThis) && !("Bun" in globalThis);
    const refused = whyNoForkOn({ host: isNode ? "node" : "other", platform, arch });
    if (refused !== undefined) return refused;
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
      return refusal("proc", `/proc cannot be read: ${(error as Error).message}`);
    }
  }

  /**
   * Returns the reason why this process cannot be copied now; "busy" if another thread is not
   * parked, which may change soon.
   */
  blocker(): ForkRefusal | "busy" | undefined {
    const snapshot = this.#threads.snapshot();
    if (snapshot === undefined) return "busy";
    return typeof snapshot === "string" ? undefined : snapshot;
  }

  /**
   * Forks this process, and returns in the parent and in the child. Blocks for a few milliseconds.
   */
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
        // The next copy could hang at the same point, for example when it needs a garbage
        // collection. The parent therefore collects garbage now.
        if (result === "notReady") collectGarbage();
      }
    } finally {
      resumeCompilation();
    }
  }

  /** Forks once. Returns the defect if the copy was defective, and was therefore discarded. */
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

  /** Returns a refusal that lists the defects of all copies of this fork. */
  #unstableRefusal(countsBefore: ForkCounts): ForkRefusal {
    const { memoryChanged, threadRan, notReady } = this.counts;
    const causes = [
      [memoryChanged - countsBefore.memoryChanged, "changed their memory size"],
      [threadRan - countsBefore.threadRan, "were taken while another thread ran"],
      [notReady - countsBefore.notReady, "did not become ready"],
    ] as const;
    const found = causes.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
    const total = causes.reduce((sum, [count]) => sum + count, 0);
    return refusal("unstable", `all ${total} copies of the process were defective: ${found.join(", ")}`);
  }

  #openPipes(): boolean {
    this.#gate.fill(-1);
    this.#ready.fill(-1);
    return this.#libc.pipe2(this.#gate, O_CLOEXEC) === 0 && this.#libc.pipe2(this.#ready, O_CLOEXEC) === 0;
  }

  /**
   * Runs first in a child. Until V8 has new threads, this code must not cause compilation or
   * garbage collection, because V8 would wait for threads that do not exist. The parent calls it as
   * a warm-up right before the fork, so that it is compiled.
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
    // The child uses only the task runner of the new platform.
    libc.memcpy(runnerAddress, (newPlatform[0] as number) + (newPlatform[1] as number) * 2 ** 32 + runnerOffset, 16);
    this.#uvLoopFork(this.#uvLoop);
    if (diesWithParent) libc.prctl(PR_SET_PDEATHSIG, SIGKILL);
    libc.write(ready, this.#oneByte, 1);
    libc.close(this.#gate[1] as number);
    // No byte means that the parent has discarded this copy, or has ended.
    if (libc.read(gate, this.#readBuffer, 1) !== 1) libc._exit(255);
    libc.close(gate);
    libc.close(ready);
    libc.close(this.#ready[0] as number);
  }

  /**
   * Returns the defect of the copy, if it has one. Closes the parent's copies of the child's ends
   * of the pipes.
   */
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

  /** Waits until the child is ready or has ended. Returns false if it hangs. */
  #waitReady(pid: number): boolean {
    let unchangedCount = 0;
    let lastSnapshot: string | undefined;
    for (let waitedMs = 0; waitedMs < READY_TIMEOUT_MS; waitedMs += SNAPSHOT_INTERVAL_MS) {
      this.#pollFds[0] = this.#ready[0] as number;
      this.#pollFds[1] = POLLIN; // `events` is the lower half; `revents`, the upper half, is 0
      if (this.#libc.poll(this.#pollFds, 1, SNAPSHOT_INTERVAL_MS) === 1) return true;
      const snapshot = this.#threads.snapshotOf(pid);
      unchangedCount = snapshot !== undefined && snapshot === lastSnapshot ? unchangedCount + 1 : 0;
      if (unchangedCount === UNCHANGED_SNAPSHOTS_UNTIL_HUNG) return false;
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
    return refusal("system", `the system allows no more processes or open files, or has too little memory (${name})`);
  }

  #warmUp(): ForkRefusal | undefined {
    for (let i = 0; i < WARM_UP_ROUNDS; i++) {
      this.#beginChild({}, true);
      this.#threads.reset(process.pid); // as a child does; the next snapshot opens the files again
      this.#addressSpace.reset();
      this.#addressSpace.pageCount();
      this.#addressSpace.markForChild();
      // Other reasons may be gone by the time of the fork, which checks again.
      const snapshot = this.#threads.snapshot();
      if (typeof snapshot === "object" && snapshot.reason === "proc") return snapshot;
    }
    // Binds the functions of libc now, because the first access to each allocates.
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
