/**
 * Whether the other threads of this process rest.
 *
 * A child has one thread, the one that called `fork()`. Whatever another thread was in the middle of stays half done there:
 * a lock that it held is held for ever. So a fork is good only if every other thread sleeps in a wait of its own, and has
 * slept all the time between the look before the fork and the look after it. `/proc/<pid>/task/<tid>/syscall` says in what
 * a thread sleeps, and how often it was given a processor whether it was woken meanwhile.
 */
import { type ForkRefusal, refusal } from "./fork-refusal.ts";

const fs = process.getBuiltinModule("node:fs");

/** The numbers of `futex`, and of `epoll_wait` and `epoll_pwait`, by processor. */
const WAITS: Readonly<Record<string, { futex: string; epoll: readonly string[] }>> = {
  x64: { futex: "202", epoll: ["232", "281"] },
  arm64: { futex: "98", epoll: ["22"] },
};

const PATIENCE = 3000;

/** What the kernel tells of a thread; kept open, since finding a file in `/proc` costs more than reading it. */
interface Thread {
  readonly call: number;
  readonly runs: number;
}

/** Where it tells how often a thread ran: the last of three numbers, or, ten times slower, lines of a longer text. */
const RUNS = countsRuns() ? "schedstat" : "status";

/** The other threads of this process. */
export class Threads {
  readonly #waits: { futex: string; epoll: readonly string[] } = WAITS[process.arch] as never;
  readonly #bytes = Buffer.alloc(4096);
  readonly #nap = new Int32Array(new SharedArrayBuffer(4));
  readonly #known = new Map<string, Thread>();
  #self = String(process.pid);

  /** Whether this processor's system calls are known. */
  static get areKnown(): boolean {
    return process.arch in WAITS;
  }

  /**
   * What all threads of a child wait in; undefined if one of them does not wait. What is the same some time later shows a child
   * in which nobody is left to wake the others.
   */
  lookAt(child: number): string | undefined {
    let snapshot = "";
    try {
      for (const id of fs.readdirSync(`/proc/${child}/task`)) {
        const call = fs.readFileSync(`/proc/${child}/task/${id}/syscall`, "latin1");
        if (!this.#isWait(call.slice(0, call.indexOf(" ")))) return undefined;
        snapshot += `${id} ${runsIn(fs.readFileSync(`/proc/${child}/task/${id}/${RUNS}`, "latin1"))}`;
      }
    } catch {
      return undefined; // a thread, or the child, has just ended
    }
    return snapshot;
  }

  /** In a child, whose only thread has its pid as its id: forgets the threads of the parent. */
  renew(pid: number): void {
    this.#self = String(pid);
    for (const thread of this.#known.keys()) this.#forget(thread);
  }

  /** Waits until all other threads rest; what it gives is the same later only if none of them has run meanwhile. */
  rest(): string | ForkRefusal {
    for (let waited = 0; waited < PATIENCE; waited++) {
      const snapshot = this.look();
      if (snapshot !== undefined) return snapshot;
      Atomics.wait(this.#nap, 0, 0, 1); // jobs of the collector and the compiler end within milliseconds
    }
    return refusal("busy-threads", `other threads of the process did not come to rest within ${PATIENCE} ms`);
  }

  /** What the other threads wait in; undefined if one of them does not wait. */
  look(): string | ForkRefusal | undefined {
    let snapshot = "";
    let loops = 0;
    for (const id of fs.readdirSync("/proc/self/task")) {
      if (id === this.#self) continue;
      let call: string;
      let runs: string;
      try {
        const thread = this.#open(id);
        call = this.#read(thread.call);
        runs = this.#read(thread.runs);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        this.#forget(id);
        if (code === "ENOENT" || code === "ESRCH") return undefined; // it has just ended
        return refusal("proc", `/proc does not tell what the threads of the process do (${code})`);
      }
      const number = call.slice(0, call.indexOf(" "));
      if (!this.#isWait(number)) return undefined;
      // The scheduler of V8's delayed tasks has the only other loop in a process without workers.
      if (number !== this.#waits.futex && ++loops > 1) return refusal("event-loops", whoseLoop());
      snapshot += `${id} ${runsIn(runs)}`;
    }
    return snapshot;
  }

  #isWait(call: string): boolean {
    return call === this.#waits.futex || this.#waits.epoll.includes(call);
  }

  #open(id: string): Thread {
    let thread = this.#known.get(id);
    if (thread === undefined) {
      const call = fs.openSync(`/proc/self/task/${id}/syscall`, "r");
      thread = { call, runs: fs.openSync(`/proc/self/task/${id}/${RUNS}`, "r") };
      this.#known.set(id, thread);
    }
    return thread;
  }

  #forget(id: string): void {
    const thread = this.#known.get(id);
    if (thread === undefined) return;
    this.#known.delete(id);
    fs.closeSync(thread.call);
    fs.closeSync(thread.runs);
  }

  #read(file: number): string {
    const length = fs.readSync(file, this.#bytes, 0, this.#bytes.length, 0);
    return this.#bytes.toString("latin1", 0, length);
  }
}

/** How often a thread ran. */
function runsIn(text: string): string {
  return text.slice(RUNS === "schedstat" ? text.lastIndexOf(" ") : text.indexOf("voluntary_ctxt_switches"));
}

/** Not all kernels keep these numbers. */
function countsRuns(): boolean {
  try {
    return Number(fs.readFileSync("/proc/self/schedstat", "latin1").split(" ")[2]) > 0;
  } catch {
    return false;
  }
}

function whoseLoop(): string {
  if (process.getBuiltinModule("node:inspector").url() !== undefined) return "the inspector is active";
  return "another thread with an event loop is alive: a worker, hooks by module.register() (as loaders such as tsx use), or trace events";
}
