/**
 * The fork server at work: it waits in `poll()`, without the event loop, for requests, for the ends of its children, and for
 * the end of its owner.
 *
 * So nothing of the server runs in a child: no timer, no handler; `fork()` returns there as it does in C, the loop below is
 * left, and the event loop of the child begins. A child's end is seen by a pidfd, which tells it at once and of that child only.
 */
import type { Forker, Forking, ForkRefusal, Native } from "@multiproc/core/internal";
import { Caller } from "./caller.ts";
import { O_CLOEXEC, O_RDWR, POLLIN, POLLOUT, SIGKILL, SYS_PIDFD_OPEN } from "./linux.ts";
import type { ForkRequest, Output, Request } from "./protocol.ts";
import { acceptFrom, connectTo } from "./sockets.ts";

/** What a child does: the server's loop has ended in it. */
export interface ChildWork {
  readonly request: ForkRequest;
  /** The files that its standard output and standard error lead to, where they are not the server's. */
  readonly stdout: number | undefined;
  readonly stderr: number | undefined;
}

interface Kid {
  readonly caller: Caller;
  readonly id: number;
  /** Readable when it has ended; -1 where the system has no such thing. */
  readonly pidfd: number;
}

/** The size of `struct pollfd` in 32-bit words: the file, then two halves, what to look for and what was seen. */
const WORDS = 2;
/** How often children are asked after where there are no pidfds (before Linux 5.3), in milliseconds. */
const SWEEP = 20;

/** Serves until the owner is gone, or until this is a child. */
export class Serving {
  readonly #forking: Forking;
  readonly #native: Native;
  readonly #forker: Forker;
  readonly #threads: number;
  readonly #listener: number;
  readonly #owner: Caller;
  readonly #callers = new Map<number, Caller>();
  readonly #kids = new Map<number, Kid>();
  #polled = new Int32Array(64 * WORDS);

  constructor(forking: Forking, native: Native, forker: Forker, threads: number, listener: number, owner: Caller) {
    this.#forking = forking;
    this.#native = native;
    this.#forker = forker;
    this.#threads = threads;
    this.#listener = listener;
    this.#owner = owner;
    this.#callers.set(owner.file, owner);
  }

  /** Returns in children only. */
  serve(): ChildWork {
    for (;;) {
      const ready = this.#wait();
      for (const pid of [...this.#kids.keys()]) this.#reap(pid, ready);
      for (const caller of [...this.#callers.values()]) {
        const seen = ready.get(caller.file);
        if (seen === undefined) continue;
        caller.flush();
        if (seen === POLLOUT) continue;
        const requests = caller.read();
        if (requests === undefined) this.#lose(caller);
        for (const request of requests ?? []) {
          const work = this.#handle(caller, request);
          if (work !== undefined) return work;
        }
      }
      if (ready.has(this.#listener)) this.#welcome();
    }
  }

  /** The files that something happened to, and what. */
  #wait(): Map<number, number> {
    const files: number[] = [this.#listener];
    const wishes: number[] = [POLLIN];
    let sweeps = false;
    for (const caller of this.#callers.values()) {
      files.push(caller.file);
      wishes.push(caller.isBehind ? POLLIN | POLLOUT : POLLIN);
    }
    for (const kid of this.#kids.values()) {
      sweeps ||= kid.pidfd < 0;
      files.push(kid.pidfd); // a negative one is passed over
      wishes.push(POLLIN);
    }
    if (this.#polled.length < files.length * WORDS) this.#polled = new Int32Array(files.length * WORDS * 2);
    const polled = this.#polled;
    for (let i = 0; i < files.length; i++) {
      polled[i * WORDS] = files[i] as number;
      polled[i * WORDS + 1] = wishes[i] as number;
    }
    const ready = new Map<number, number>();
    if (this.#native.libc.poll(polled, files.length, sweeps ? SWEEP : -1) < 0) return ready; // interrupted by a signal
    for (let i = 0; i < files.length; i++) {
      const seen = (polled[i * WORDS + 1] as number) >>> 16;
      if (seen !== 0) ready.set(files[i] as number, seen);
    }
    return ready;
  }

  #reap(pid: number, ready: ReadonlyMap<number, number>): void {
    const { caller, id, pidfd } = this.#kids.get(pid) as Kid;
    if (pidfd >= 0 && !ready.has(pidfd)) return;
    const status = this.#forking.reap(this.#native, pid);
    if (status === undefined) return;
    this.#kids.delete(pid);
    caller.children.delete(id);
    if (pidfd >= 0) this.#native.libc.close(pidfd);
    if (this.#callers.has(caller.file)) caller.say({ id, ...status });
  }

  #welcome(): void {
    const file = acceptFrom(this.#native, this.#listener);
    if (file !== undefined) this.#callers.set(file, new Caller(this.#native, file));
  }

  /** Who asked for children is gone, so these go too. */
  #lose(caller: Caller): void {
    // The kernel kills all children of this process, see `diesWithParent`.
    if (caller === this.#owner) this.#native.libc._exit(0);
    for (const pid of caller.children.values()) this.#native.libc.kill(pid, SIGKILL);
    this.#callers.delete(caller.file);
    caller.close();
  }

  #handle(caller: Caller, request: Request): ChildWork | undefined {
    if (request.do === "fork") return this.#fork(caller, request.id, request.request);
    const pid = caller.children.get(request.id);
    // A child that has not been asked after yet keeps its pid, so this can be no other process.
    if (pid !== undefined) this.#native.libc.kill(pid, request.signal);
    return undefined;
  }

  #fork(caller: Caller, id: number, request: ForkRequest): ChildWork | undefined {
    const { libc } = this.#native;
    let files: [number | undefined, number | undefined] | undefined;
    try {
      if (request.cwd !== undefined && !this.#forking.isFolder(request.cwd))
        throw new Error(`There is no folder "${request.cwd}" to start in`);
      files = [this.#open(request.stdout), this.#open(request.stderr)];
    } catch (error) {
      const refused: ForkRefusal = { reason: "system", message: (error as Error).message };
      caller.say({ id, refused });
      return undefined;
    }
    const own = this.#ownFiles();
    const fork = this.#forker.fork({ threads: this.#threads, diesWithParent: true });
    if (fork.role === "child") {
      for (const file of own) libc.close(file);
      return { request, stdout: files[0], stderr: files[1] };
    }
    for (const file of files) if (file !== undefined) libc.close(file);
    if (fork.role === "refused") {
      caller.say({ id, refused: fork.refusal });
      return undefined;
    }
    caller.children.set(id, fork.pid);
    this.#kids.set(fork.pid, { caller, id, pidfd: libc.syscall(SYS_PIDFD_OPEN, fork.pid, 0) });
    caller.say({ id, pid: fork.pid });
    return undefined;
  }

  #open(output: Output): number | undefined {
    if (output === "inherit") return undefined;
    if (output === "ignore") return this.#native.libc.open("/dev/null", O_RDWR | O_CLOEXEC);
    return connectTo(this.#native, output.socket);
  }

  /** What a child must not hold: the connections that tell of owners, the place where others ask. */
  #ownFiles(): number[] {
    const files = [this.#listener, ...this.#callers.keys()];
    for (const { pidfd } of this.#kids.values()) if (pidfd >= 0) files.push(pidfd);
    return files;
  }
}
