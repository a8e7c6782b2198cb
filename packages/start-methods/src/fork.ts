/**
 * The start method `fork`: the child is a copy of this process.
 *
 * ```text
 * parent                                            child
 *   waits until no operation is under way
 *   shareable objects prepare their handles
 *   a turn of the event loop without other code
 *   fork() ──────────────────────────────────────>   detaches timers, handles and connections of the parent
 *   continues                                        resets the system state of this library
 *                                                    runs the entry, as under every start method
 * ```
 *
 * The fork happens while no function of the program is on the stack. The child therefore does not
 * continue what its parent was doing, and never settles the promises that its parent waits for.
 */
import { type ChildOutput, StartError } from "@multiproc/core";
import {
  connectTo,
  type Forking,
  type ForkRefusal,
  type ForkSupport,
  forking,
  host,
  type Native,
  O_CLOEXEC,
  O_RDWR,
  processRole,
  runChildHooks,
  runPrepareHooks,
} from "@multiproc/core/internal";
import { ChildOutputSockets } from "./child-output-socket.ts";
import { deferred } from "./deferred.ts";
import { argsWithPayload, type Child, type StartOptions } from "./launcher.ts";
import { getForkSupport, StartMethodError } from "./start-method.ts";

/** Worker threads of V8 in a child. */
const V8_THREAD_COUNT = 2;
/**
 * The number of times that a fork is tried while other threads keep running. Each attempt has its
 * own turn of the event loop and takes at most about 5 s.
 */
const MAX_FORK_ATTEMPTS = 2;

type EntryFunction = (...args: string[]) => Promise<void>;

let entries: Promise<Map<string, EntryFunction>> = Promise.resolve(new Map());
let selfTest: Promise<ForkRefusal | undefined> | undefined;

/** Forks this process; the child runs the entry. */
export async function forkChild(options: StartOptions, args: readonly string[]): Promise<Child> {
  const { name, execArgv, cwd, signal } = options;
  const support = requireForkSupport(name);
  const forkApi = forking();
  if (execArgv !== undefined)
    throw new StartMethodError(
      `Cannot fork ${name} with execArgv, because a copy of this process has its flags: use "spawn" or "forkserver"`,
    );
  if (cwd !== undefined && !forkApi.isDirectory(cwd))
    throw new StartError(`Cannot start ${name}: there is no folder "${cwd}" to start in`);
  const entry = await loadEntry(options.entry);
  // Simultaneous starts share one self-test, because a second test would find the event loop busy.
  selfTest ??= runSelfTest(forkApi, support);
  throwIfRefused(name, await selfTest, () => (selfTest = undefined));
  signal?.throwIfAborted();
  const payloadArgs = argsWithPayload(options, args);
  const outputs = new ChildOutputSockets(options);
  const stdoutFd = openOutput(support.native, options.stdout, outputs.stdout?.socketPath);
  const stderrFd = openOutput(support.native, options.stderr, outputs.stderr?.socketPath);
  try {
    const pid = await forkWhenIdle(forkApi, support, name, () => {
      setUpChild(forkApi, support.native, options, stdoutFd, stderrFd);
      void entry(...(payloadArgs ?? args));
    });
    return { ...childOf(forkApi, support.native, pid, outputs), hasPayload: payloadArgs !== undefined };
  } catch (error) {
    outputs.close();
    throw error;
  } finally {
    for (const fd of [stdoutFd, stderrFd]) if (fd !== undefined) support.native.libc.close(fd);
  }
}

/**
 * Forks as soon as this process is idle. Returns the pid of the child, and returns in the parent
 * only.
 */
async function forkWhenIdle(
  forkApi: Forking,
  support: ForkSupport,
  name: string,
  runInChild: () => void,
): Promise<number> {
  for (let attempt = 1; ; ) {
    throwIfRefused(name, await forkApi.quiesce(support.forker));
    const result = await runInOwnTurn(() => {
      if (forkApi.pendingRequests() !== undefined) return "again";
      runPrepareHooks();
      const fork = support.forker.fork({ threads: V8_THREAD_COUNT, diesWithParent: true });
      if (fork.role !== "child") return fork;
      runInChild();
      return undefined;
    });
    if (result === "again") continue;
    // In the next turn of the event loop the other threads may be idle.
    if (result.role === "refused" && result.refusal.reason === "unstable" && attempt++ < MAX_FORK_ATTEMPTS) continue;
    if (result.role === "refused") throwIfRefused(name, result.refusal);
    if (result.role === "parent") return result.pid;
  }
}

/**
 * Runs a function in a turn of the event loop with no other code on the stack or after it. The
 * promise stays pending if the result is undefined.
 */
function runInOwnTurn<T>(run: () => T | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    host.afterIo(() => {
      try {
        const result = run();
        if (result !== undefined) resolve(result);
      } catch (error) {
        reject(error);
      }
    });
  });
}

/** Prepares the child right after the fork. */
function setUpChild(
  forkApi: Forking,
  native: Native,
  { env, cwd }: StartOptions,
  stdoutFd: number | undefined,
  stderrFd: number | undefined,
): void {
  forkApi.recordOutput();
  if (stdoutFd !== undefined) forkApi.redirectOutput(native, "stdout", stdoutFd);
  if (stderrFd !== undefined) forkApi.redirectOutput(native, "stderr", stderrFd);
  forkApi.detachInherited(native);
  forkApi.exitWithoutCleanup(native);
  runChildHooks();
  forkApi.applyEnvironment({ env, cwd });
}

function childOf(forkApi: Forking, native: Native, pid: number, outputs: ChildOutputSockets): Child {
  const watched = forkApi.watchChild(native, pid);
  let hasEnded = false;
  void watched.exited.then(() => {
    hasEnded = true;
  });
  watched.ref();
  return {
    pid,
    exited: watched.exited,
    ...outputs.connect(),
    kill(signal) {
      if (!hasEnded) native.libc.kill(pid, host.signalNumber(signal));
    },
    ref: () => {
      watched.ref();
      outputs.ref();
    },
    unref: () => {
      watched.unref();
      outputs.unref();
    },
  };
}

/** Opens the descriptor for the output of the child; undefined if it inherits that of its parent. */
function openOutput(
  native: Native,
  output: ChildOutput | undefined,
  socketPath: string | undefined,
): number | undefined {
  if (socketPath !== undefined) return connectTo(native, socketPath);
  return output === "ignore" ? native.libc.open("/dev/null", O_RDWR | O_CLOEXEC) : undefined;
}

/** Loads the entry in this process, so that the child has it after the fork. */
async function loadEntry({ href }: URL): Promise<EntryFunction> {
  const loading = entries.then(async (loaded) => {
    if (loaded.has(href)) return loaded;
    const { isStandby } = processRole;
    processRole.isStandby = true;
    try {
      const { run } = (await import(href)) as { run: EntryFunction };
      return loaded.set(href, run);
    } finally {
      processRole.isStandby = isStandby;
    }
  });
  entries = loading.catch(() => new Map());
  return (await loading).get(href) as EntryFunction;
}

async function runSelfTest(forkApi: Forking, { native, forker }: ForkSupport): Promise<ForkRefusal | undefined> {
  const refusal = await forkApi.quiesce(forker);
  if (refusal !== undefined) return refusal;
  const result = deferred<ForkRefusal | undefined>();
  host.afterIo(() => {
    const tested = forkApi.selfTest(native, forker, V8_THREAD_COUNT, () => {
      forkApi.detachInherited(native);
      forkApi.exitWithoutCleanup(native);
    });
    tested.then(result.resolve, result.reject);
  });
  return result.promise;
}

/**
 * Returns the means to fork this process.
 *
 * @throws {StartMethodError} if it cannot be forked
 */
function requireForkSupport(name: string): ForkSupport {
  const support = getForkSupport();
  if ("reason" in support) throwIfRefused(name, support);
  return support as ForkSupport;
}

function throwIfRefused(name: string, refusal: ForkRefusal | undefined, beforeThrow: () => void = () => {}): void {
  if (refusal === undefined) return;
  beforeThrow();
  if (refusal.reason === "system") throw new StartError(`Cannot start ${name}: ${refusal.message}`);
  throw new StartMethodError(`Cannot fork ${name}: ${refusal.message}; use "spawn" or "forkserver"`);
}
