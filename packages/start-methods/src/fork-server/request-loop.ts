/**
 * The loop of a fork server. It waits in `poll()`, without the event loop, for requests, for ends
 * of children, and for the end of its owner.
 *
 * Without the event loop, no timer and no handler of the server runs in a child. In a child the loop
 * returns, and the event loop of the child starts. A pidfd reports the end of one child without
 * delay, so the server needs neither SIGCHLD nor a timer.
 *
 * While there are no requests, the server forks one child in advance; see {@link PreforkedChild}.
 */
import type { Forker, Forking, ForkRefusal, ForkResult, Native } from "@multiproc/core/internal";
import { O_CLOEXEC, POLLIN, POLLOUT, SIGKILL, SYS_PIDFD_OPEN } from "@multiproc/core/internal";
import { ClientConnection } from "./client-connection.ts";
import { acceptFrom } from "./listen-socket.ts";
import { PreforkedChild } from "./preforked-child.ts";
import type { ForkRequest, Request } from "./protocol.ts";

/**
 * The task of a new child: a request, or the pipe from which a preforked child reads its request.
 */
export type ChildTask = { readonly request: ForkRequest } | { readonly pipeFd: number };

interface TrackedChild {
  readonly client: ClientConnection;
  readonly id: number;
  /** A descriptor that is readable once the child has ended; -1 on systems without pidfds. */
  readonly pidfd: number;
}

/**
 * The size of `struct pollfd` in 32-bit words: the descriptor, then 16 bits each of requested and
 * returned events.
 */
const POLLFD_WORDS = 2;
/** The interval of `waitpid()` on systems without pidfds (before Linux 5.3). */
const REAP_INTERVAL_MS = 20;

/** Serves requests until the owner has ended; returns in children. */
export class RequestLoop {
  readonly #forkApi: Forking;
  readonly #native: Native;
  readonly #forker: Forker;
  readonly #threads: number;
  readonly #listenFd: number;
  readonly #owner: ClientConnection;
  readonly #clients = new Map<number, ClientConnection>();
  readonly #children = new Map<number, TrackedChild>();
  #pollfds = new Int32Array(64 * POLLFD_WORDS);
  #standby: PreforkedChild | undefined;
  /**
   * Whether to fork a child in advance. A preforked child that dies is not replaced before the next
   * request.
   */
  #wantsStandby = true;

  constructor(
    forkApi: Forking,
    native: Native,
    forker: Forker,
    threads: number,
    listenFd: number,
    owner: ClientConnection,
  ) {
    this.#forkApi = forkApi;
    this.#native = native;
    this.#forker = forker;
    this.#threads = threads;
    this.#listenFd = listenFd;
    this.#owner = owner;
    this.#clients.set(owner.fd, owner);
  }

  /** Runs the loop. It returns in children only. */
  run(): ChildTask {
    for (;;) {
      let readyFds = this.#poll(this.#wantsStandby ? 0 : -1);
      if (readyFds.size === 0 && this.#wantsStandby) {
        const task = this.#preforkChild();
        if (task !== undefined) return task;
        readyFds = this.#poll(-1);
      }
      if (this.#standby !== undefined && readyFds.has(this.#standby.pidfd)) this.#dropStandby(this.#standby);
      for (const pid of [...this.#children.keys()]) this.#reap(pid, readyFds);
      for (const client of [...this.#clients.values()]) {
        const returnedEvents = readyFds.get(client.fd);
        if (returnedEvents === undefined) continue;
        client.flush();
        if (returnedEvents === POLLOUT) continue;
        const requests = client.read();
        if (requests === undefined) this.#drop(client);
        for (const request of requests ?? []) {
          const task = this.#handle(client, request);
          if (task !== undefined) return task;
        }
      }
      if (readyFds.has(this.#listenFd)) this.#accept();
    }
  }

  /** Polls; returns the ready descriptors with their events. */
  #poll(timeoutMs: number): Map<number, number> {
    const fds: number[] = [this.#listenFd];
    const requestedEvents: number[] = [POLLIN];
    let mustReapByTimer = false;
    for (const client of this.#clients.values()) {
      fds.push(client.fd);
      requestedEvents.push(client.hasBacklog ? POLLIN | POLLOUT : POLLIN);
    }
    for (const child of this.#children.values()) {
      mustReapByTimer ||= child.pidfd < 0;
      fds.push(child.pidfd); // poll() skips a negative one
      requestedEvents.push(POLLIN);
    }
    if (this.#standby !== undefined) {
      fds.push(this.#standby.pidfd);
      requestedEvents.push(POLLIN);
    }
    if (this.#pollfds.length < fds.length * POLLFD_WORDS) this.#pollfds = new Int32Array(fds.length * POLLFD_WORDS * 2);
    const pollfds = this.#pollfds;
    for (let i = 0; i < fds.length; i++) {
      pollfds[i * POLLFD_WORDS] = fds[i] as number;
      pollfds[i * POLLFD_WORDS + 1] = requestedEvents[i] as number;
    }
    const readyFds = new Map<number, number>();
    const pollMs = mustReapByTimer && timeoutMs < 0 ? REAP_INTERVAL_MS : timeoutMs;
    if (this.#native.libc.poll(pollfds, fds.length, pollMs) < 0) return readyFds; // interrupted by a signal
    for (let i = 0; i < fds.length; i++) {
      const returnedEvents = (pollfds[i * POLLFD_WORDS + 1] as number) >>> 16;
      if (returnedEvents !== 0) readyFds.set(fds[i] as number, returnedEvents);
    }
    return readyFds;
  }

  #reap(pid: number, readyFds: ReadonlyMap<number, number>): void {
    const { client, id, pidfd } = this.#children.get(pid) as TrackedChild;
    if (pidfd >= 0 && !readyFds.has(pidfd)) return;
    const status = this.#forkApi.reap(this.#native, pid);
    if (status === undefined) return;
    this.#children.delete(pid);
    client.childPids.delete(id);
    if (pidfd >= 0) this.#native.libc.close(pidfd);
    if (this.#clients.has(client.fd)) client.send({ id, ...status });
  }

  #accept(): void {
    const fd = acceptFrom(this.#native, this.#listenFd);
    if (fd !== undefined) this.#clients.set(fd, new ClientConnection(this.#native, fd));
  }

  /** Kills the children of a client that has disconnected. */
  #drop(client: ClientConnection): void {
    // The kernel kills all children of the server; see `diesWithParent`.
    if (client === this.#owner) this.#native.libc._exit(0);
    for (const pid of client.childPids.values()) this.#native.libc.kill(pid, SIGKILL);
    this.#clients.delete(client.fd);
    client.close();
  }

  #handle(client: ClientConnection, request: Request): ChildTask | undefined {
    if (request.do === "fork") return this.#fork(client, request.id, request.request);
    const pid = client.childPids.get(request.id);
    // The system does not reuse the pid of a child before waitpid() has collected the child.
    if (pid !== undefined) this.#native.libc.kill(pid, request.signal);
    return undefined;
  }

  #fork(client: ClientConnection, id: number, request: ForkRequest): ChildTask | undefined {
    if (request.cwd !== undefined && !this.#forkApi.isDirectory(request.cwd)) {
      const message = `there is no folder "${request.cwd}" to start in`;
      client.send({ id, refused: { reason: "system", message } satisfies ForkRefusal });
      return undefined;
    }
    this.#wantsStandby = true;
    const standby = this.#standby;
    if (standby?.assign(request) === true) {
      this.#standby = undefined;
      if (client !== this.#owner) this.#owner.send({ standby: 0 });
      this.#track(client, id, standby.pid, standby.pidfd);
      return undefined;
    }
    const fork = this.#forkProcess();
    if (fork.role === "child") return { request };
    if (fork.role === "refused") client.send({ id, refused: fork.refusal });
    else this.#track(client, id, fork.pid, this.#openPidfd(fork.pid));
    return undefined;
  }

  #track(client: ClientConnection, id: number, pid: number, pidfd: number): void {
    client.childPids.set(id, pid);
    this.#children.set(pid, { client, id, pidfd });
    client.send({ id, pid });
  }

  /** Forks a child in advance. Returns a task in the child only. */
  #preforkChild(): ChildTask | undefined {
    this.#wantsStandby = false;
    if (this.#standby !== undefined) return undefined;
    const { libc } = this.#native;
    const fds = new Int32Array(new ArrayBuffer(8));
    if (libc.pipe2(fds, O_CLOEXEC) < 0) return undefined;
    const [pipeFd, writeFd] = fds as unknown as [number, number];
    const fork = this.#forkProcess();
    libc.close(fork.role === "child" ? writeFd : pipeFd);
    if (fork.role === "child") return { pipeFd };
    if (fork.role === "refused") return void libc.close(writeFd); // the next request reports the reason
    this.#standby = new PreforkedChild(this.#native, fork.pid, this.#openPidfd(fork.pid), writeFd);
    this.#owner.send({ standby: fork.pid });
    return undefined;
  }

  #dropStandby({ pid, pidfd, pipeFd }: PreforkedChild): void {
    this.#standby = undefined;
    this.#forkApi.reap(this.#native, pid);
    for (const fd of [pidfd, pipeFd]) this.#native.libc.close(fd);
    this.#owner.send({ standby: 0 });
  }

  #forkProcess(): ForkResult {
    // A child closes the descriptors of the server. Otherwise a connection to a client would stay
    // open after the server has closed it.
    const ownFds = [this.#listenFd, ...this.#clients.keys()];
    for (const { pidfd } of this.#children.values()) if (pidfd >= 0) ownFds.push(pidfd);
    if (this.#standby !== undefined) ownFds.push(this.#standby.pidfd, this.#standby.pipeFd);
    const fork = this.#forker.fork({ threads: this.#threads, diesWithParent: true });
    if (fork.role === "child") for (const fd of ownFds) this.#native.libc.close(fd);
    return fork;
  }

  #openPidfd(pid: number): number {
    return this.#native.libc.syscall(SYS_PIDFD_OPEN, pid, 0);
  }
}
