/**
 * Finds out whether the other threads of this process are *parked*: asleep in futex or epoll, with
 * no work.
 *
 * A child has only the thread that called `fork()`. The work of any other thread stays half-done in
 * the child, and a lock that it held is held forever. A copy is therefore good only if all other
 * threads were parked from before the fork until after it. `/proc/<pid>/task/<tid>/syscall` shows
 * the system call in which a thread sleeps. The *run count*, the number of times that the kernel
 * ran the thread, shows whether it was woken in between. A *snapshot* of parked threads is a string
 * of their ids and run counts.
 */
import { type ForkRefusal, refusal } from "../host/fork-refusal.ts";

const fs = process.getBuiltinModule("node:fs");

/** The numbers of the system calls `futex`, `epoll_wait` and `epoll_pwait` on x64. */
const PARKED_SYSCALLS = { futex: "202", epoll: ["232", "281"] };

const PARK_TIMEOUT_MS = 3000;

/**
 * Files in `/proc` about a thread. They stay open, because opening one costs more than reading it.
 */
interface ThreadFiles {
  readonly syscallFd: number;
  readonly runCountFd: number;
}

/**
 * The file with the run count of a thread: the last number in schedstat, or the context switches in
 * status, which takes ten times as long to read.
 */
const RUN_COUNT_FILE = hasSchedstat() ? "schedstat" : "status";

/** The states of the other threads of this process. */
export class ThreadStates {
  readonly #buffer = Buffer.alloc(4096);
  readonly #sleepCell = new Int32Array(new SharedArrayBuffer(4));
  readonly #threadFiles = new Map<string, ThreadFiles>();
  #ownId = String(process.pid);

  /**
   * Returns a snapshot of all threads of a child; undefined if one of them is not parked. If the
   * snapshot does not change, the child hangs, because none of its threads will wake another.
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
      return undefined; // a thread or the child has just ended
    }
    return snapshot;
  }

  /**
   * In a child: forgets the threads of the parent, and sets the id of the only thread, which is the
   * pid.
   */
  reset(pid: number): void {
    this.#ownId = String(pid);
    for (const id of this.#threadFiles.keys()) this.#closeFiles(id);
  }

  /** Blocks until all other threads are parked, and returns a snapshot. */
  waitUntilParked(): string | ForkRefusal {
    for (let waitedMs = 0; waitedMs < PARK_TIMEOUT_MS; waitedMs++) {
      const snapshot = this.snapshot();
      if (snapshot !== undefined) return snapshot;
      Atomics.wait(this.#sleepCell, 0, 0, 1); // garbage collection and compile jobs end within milliseconds
    }
    return refusal("busy-threads", `other threads of the process were not idle within ${PARK_TIMEOUT_MS} ms`);
  }

  /** Returns a snapshot of the other threads; undefined if one of them is not parked. */
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
        if (code === "ENOENT" || code === "ESRCH") return undefined; // the thread has just ended
        return refusal("proc", `/proc does not show the states of the threads of the process (${code})`);
      }
      const syscallNumber = syscall.slice(0, syscall.indexOf(" "));
      if (!this.#isParkedIn(syscallNumber)) return undefined;
      // In a process without workers, only one other thread has an event loop: V8's scheduler of
      // delayed tasks.
      if (syscallNumber !== PARKED_SYSCALLS.futex && ++loopCount > 1)
        return refusal("event-loops", describeEventLoop());
      snapshot += `${id} ${runCountIn(runStats)}`;
    }
    return snapshot;
  }

  #isParkedIn(syscallNumber: string): boolean {
    return syscallNumber === PARKED_SYSCALLS.futex || PARKED_SYSCALLS.epoll.includes(syscallNumber);
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

/** Returns the run count in the contents of the file. */
function runCountIn(text: string): string {
  return text.slice(RUN_COUNT_FILE === "schedstat" ? text.lastIndexOf(" ") : text.indexOf("voluntary_ctxt_switches"));
}

/** Whether schedstat contains run counts, which depends on the configuration of the kernel. */
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
