/**
 * The fork server at work: it waits in `poll()`, without the event loop, for requests, for the ends of its children, and for
 * the end of its owner.
 *
 * So nothing of the server runs in a child: no timer, no handler; `fork()` returns there as it does in C, the loop below is
 * left, and the event loop of the child begins. A child's end is seen by a pidfd, which tells it at once and of that child only.
 *
 * While nobody asks for anything, one child is forked in advance, see {@link Standby}.
 */

import type { Fork, Forker, Forking, ForkRefusal, Native } from "@multiproc/core/internal";
import { O_CLOEXEC, POLLIN, POLLOUT, SIGKILL, SYS_PIDFD_OPEN } from "@multiproc/core/internal";
import { Caller } from "./client-connection.ts";
import { acceptFrom } from "./listen-socket.ts";
import { Standby } from "./preforked-child.ts";
import type { ForkRequest, Request } from "./protocol.ts";

/** What a child does, since the server's loop has ended in it: what was asked for, or what it will read from a pipe. */
export type ChildWork = { readonly request: ForkRequest } | { readonly pipe: number };

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
  #standby: Standby | undefined;
  /** Whether one is to be forked in advance; one that is lost is not replaced before somebody asks for a child. */
  #wantsStandby = true;

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
      let ready = this.#wait(this.#wantsStandby ? 0 : -1);
      if (ready.size === 0 && this.#wantsStandby) {
        const work = this.#prepareStandby();
        if (work !== undefined) return work;
        ready = this.#wait(-1);
      }
      if (this.#standby !== undefined && ready.has(this.#standby.pidfd)) this.#loseStandby(this.#standby);
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
  #wait(timeout: number): Map<number, number> {
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
    if (this.#standby !== undefined) {
      files.push(this.#standby.pidfd);
      wishes.push(POLLIN);
    }
    if (this.#polled.length < files.length * WORDS) this.#polled = new Int32Array(files.length * WORDS * 2);
    const polled = this.#polled;
    for (let i = 0; i < files.length; i++) {
      polled[i * WORDS] = files[i] as number;
      polled[i * WORDS + 1] = wishes[i] as number;
    }
    const ready = new Map<number, number>();
    const longest = sweeps && timeout < 0 ? SWEEP : timeout;
    if (this.#native.libc.poll(polled, files.length, longest) < 0) return ready; // interrupted by a signal
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
    if (request.cwd !== undefined && !this.#forking.isFolder(request.cwd)) {
      const message = `there is no folder "${request.cwd}" to start in`;
      caller.say({ id, refused: { reason: "system", message } satisfies ForkRefusal });
      return undefined;
    }
    this.#wantsStandby = true;
    const standby = this.#standby;
    if (standby?.become(request) === true) {
      this.#standby = undefined;
      if (caller !== this.#owner) this.#owner.say({ standby: 0 });
      this.#follow(caller, id, standby.pid, standby.pidfd);
      return undefined;
    }
    const fork = this.#copy();
    if (fork.role === "child") return { request };
    if (fork.role === "refused") caller.say({ id, refused: fork.refusal });
    else this.#follow(caller, id, fork.pid, this.#pidfdOf(fork.pid));
    return undefined;
  }

  #follow(caller: Caller, id: number, pid: number, pidfd: number): void {
    caller.children.set(id, pid);
    this.#kids.set(pid, { caller, id, pidfd });
    caller.say({ id, pid });
  }

  /** In the child, what it waits for. */
  #prepareStandby(): ChildWork | undefined {
    this.#wantsStandby = false;
    if (this.#standby !== undefined) return undefined;
    const { libc } = this.#native;
    const ends = new Int32Array(new ArrayBuffer(8));
    if (libc.pipe2(ends, O_CLOEXEC) < 0) return undefined;
    const [pipe, input] = ends as unknown as [number, number];
    const fork = this.#copy();
    libc.close(fork.role === "child" ? input : pipe);
    if (fork.role === "child") return { pipe };
    if (fork.role === "refused") return void libc.close(input); // who asks for a child is told the reason
    this.#standby = new Standby(this.#native, fork.pid, this.#pidfdOf(fork.pid), input);
    this.#owner.say({ standby: fork.pid });
    return undefined;
  }

  #loseStandby({ pid, pidfd, pipe }: Standby): void {
    this.#standby = undefined;
    this.#forking.reap(this.#native, pid);
    for (const file of [pidfd, pipe]) this.#native.libc.close(file);
    this.#owner.say({ standby: 0 });
  }

  #copy(): Fork {
    // What a child must not hold: the connections that tell of owners, the place where others ask.
    const own = [this.#listener, ...this.#callers.keys()];
    for (const { pidfd } of this.#kids.values()) if (pidfd >= 0) own.push(pidfd);
    if (this.#standby !== undefined) own.push(this.#standby.pidfd, this.#standby.pipe);
    const fork = this.#forker.fork({ threads: this.#threads, diesWithParent: true });
    if (fork.role === "child") for (const file of own) this.#native.libc.close(file);
    return fork;
  }

  #pidfdOf(pid: number): number {
    return this.#native.libc.syscall(SYS_PIDFD_OPEN, pid, 0);
  }
}
