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
const PARKED_SYSCALLS: Readonly<Record<string, { futex: string; epoll: readonly string[] }>> = {
  x64: { futex: "202", epoll: ["232", "281"] },
  arm64: { futex: "98", epoll: ["22"] },
};

const PARK_TIMEOUT_MS = 3000;

/** What the kernel tells of a thread; kept open, since finding a file in `/proc` costs more than reading it. */
interface ThreadFiles {
  readonly syscallFd: number;
  readonly runCountFd: number;
}

/** Where it tells how often a thread ran: the last of three numbers, or, ten times slower, lines of a longer text. */
const RUN_COUNT_FILE = hasSchedstat() ? "schedstat" : "status";

/** The other threads of this process. */
export class ThreadStates {
  readonly #parkedSyscalls: { futex: string; epoll: readonly string[] } = PARKED_SYSCALLS[process.arch] as never;
  readonly #buffer = Buffer.alloc(4096);
  readonly #sleepCell = new Int32Array(new SharedArrayBuffer(4));
  readonly #threadFiles = new Map<string, ThreadFiles>();
  #ownId = String(process.pid);

  /** Whether this processor's system calls are known. */
  static get isSupported(): boolean {
    return process.arch in PARKED_SYSCALLS;
  }

  /**
   * What all threads of a child wait in; undefined if one of them does not wait. What is the same some time later shows a child
   * in which nobody is left to wake the others.
   */
  snapshotOf(pid: number): string | undefined {
    let snapshot = "";
    try {
      for (const id of fs.readdirSync(`/proc/${pid}/task`)) {
        const syscall = fs.readFileSync(`/proc/${pid}/task/${id}/syscall`, "latin1");
        if (!this.#isParkedIn(syscall.slice(0, syscall.indexOf(" ")))) return undefined;
        snapshot += `${id} ${runCountIn(fs.readFileSync(`/proc/${pid}/task/${id}/${RUN_COUNT_FILE}`, "latin1"))}`;
      }
    } catch {
      return undefined; // a thread, or the child, has just ended
    }
    return snapshot;
  }

  /** In a child, whose only thread has its pid as its id: forgets the threads of the parent. */
  reset(pid: number): void {
    this.#ownId = String(pid);
    for (const id of this.#threadFiles.keys()) this.#closeFiles(id);
  }

  /** Waits until all other threads rest; what it gives is the same later only if none of them has run meanwhile. */
  waitUntilParked(): string | ForkRefusal {
    for (let waitedMs = 0; waitedMs < PARK_TIMEOUT_MS; waitedMs++) {
      const snapshot = this.snapshot();
      if (snapshot !== undefined) return snapshot;
      Atomics.wait(this.#sleepCell, 0, 0, 1); // jobs of the collector and the compiler end within milliseconds
    }
    return refusal("busy-threads", `other threads of the process did not come to rest within ${PARK_TIMEOUT_MS} ms`);
  }

  /** What the other threads wait in; undefined if one of them does not wait. */
  snapshot(): string | ForkRefusal | undefined {
    let snapshot = "";
    let loopCount = 0;
    for (const id of fs.readdirSync("/proc/self/task")) {
      if (id === this.#ownId) continue;
      let syscall: string;
      let runStats: string;
      try {
        const thread = this.#openFiles(id);
        syscall = this.#read(thread.syscallFd);
        runStats = this.#read(thread.runCountFd);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        this.#closeFiles(id);
        if (code === "ENOENT" || code === "ESRCH") return undefined; // it has just ended
        return refusal("proc", `/proc does not tell what the threads of the process do (${code})`);
      }
      const syscallNumber = syscall.slice(0, syscall.indexOf(" "));
      if (!this.#isParkedIn(syscallNumber)) return undefined;
      // The scheduler of V8's delayed tasks has the only other loop in a process without workers.
      if (syscallNumber !== this.#parkedSyscalls.futex && ++loopCount > 1)
        return refusal("event-loops", describeEventLoop());
      snapshot += `${id} ${runCountIn(runStats)}`;
    }
    return snapshot;
  }

  #isParkedIn(syscallNumber: string): boolean {
    return syscallNumber === this.#parkedSyscalls.futex || this.#parkedSyscalls.epoll.includes(syscallNumber);
  }

  #openFiles(id: string): ThreadFiles {
    let thread = this.#threadFiles.get(id);
    if (thread === undefined) {
      const syscallFd = fs.openSync(`/proc/self/task/${id}/syscall`, "r");
      thread = { syscallFd, runCountFd: fs.openSync(`/proc/self/task/${id}/${RUN_COUNT_FILE}`, "r") };
      this.#threadFiles.set(id, thread);
    }
    return thread;
  }

  #closeFiles(id: string): void {
    const thread = this.#threadFiles.get(id);
    if (thread === undefined) return;
    this.#threadFiles.delete(id);
    fs.closeSync(thread.syscallFd);
    fs.closeSync(thread.runCountFd);
  }

  #read(fd: number): string {
    const length = fs.readSync(fd, this.#buffer, 0, this.#buffer.length, 0);
    return this.#buffer.toString("latin1", 0, length);
  }
}

/** How often a thread ran. */
function runCountIn(text: string): string {
  return text.slice(RUN_COUNT_FILE === "schedstat" ? text.lastIndexOf(" ") : text.indexOf("voluntary_ctxt_switches"));
}

/** Not all kernels keep these numbers. */
function hasSchedstat(): boolean {
  try {
    return Number(fs.readFileSync("/proc/self/schedstat", "latin1").split(" ")[2]) > 0;
  } catch {
    return false;
  }
}

function describeEventLoop(): string {
  if (process.getBuiltinModule("node:inspector").url() !== undefined) return "the inspector is active";
  return "another thread with an event loop is alive: a worker, hooks by module.register() (as loaders such as tsx use), or trace events";
}
