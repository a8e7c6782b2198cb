/**
 * The start method `fork`: a copy of this process.
 *
 * ```text
 * parent                                            child
 *   waits until nothing is under way in it
 *   live objects make their invitations
 *   a turn of the loop of its own
 *   fork() ──────────────────────────────────────>   leaves to its parent what is its parent's
 *   goes on                                          begins anew what this library holds of the system
 *                                                    runs the entry, as a child of any start method
 * ```
 *
 * The turn of the loop is one in which no function of the program is under way: so the child does not run on in the middle
 * of what its parent was doing. It never settles the promises that its parent waits for.
 */
import { type ChildOutput, StartError } from "@multiproc/core";
import {
  becomeHeir,
  connectTo,
  type Forking,
  type ForkRefusal,
  forking,
  host,
  type Native,
  O_CLOEXEC,
  O_RDWR,
  type Opened,
  prepareHeirs,
  role,
} from "@multiproc/core/internal";
import { OutputStreams } from "./child-output-socket.ts";
import { deferred } from "./deferred.ts";
import { argsWithWork, type Child, type StartOptions } from "./launcher.ts";
import { openForFork, StartMethodError } from "./start-method.ts";

/** V8's worker threads in a child. */
const THREADS = 2;
/** In how many turns of the loop a copy is tried; each ends after some seconds. */
const ROUNDS = 2;

type Entry = (...args: string[]) => Promise<void>;

let entries: Promise<Map<string, Entry>> = Promise.resolve(new Map());
let selfTest: Promise<ForkRefusal | undefined> | undefined;

/** Copies this process; the copy runs the entry. */
export async function launchForked(options: StartOptions, args: readonly string[]): Promise<Child> {
  const { name, execArgv, cwd, signal } = options;
  const opened = requireFork(name);
  const tools = forking();
  if (execArgv !== undefined)
    throw new StartMethodError(`Cannot fork ${name} with execArgv: a copy of this process has its flags; use "spawn"`);
  if (cwd !== undefined && !tools.isFolder(cwd))
    throw new StartError(`Cannot start ${name}: there is no folder "${cwd}" to start in`);
  const entry = await loadEntry(options.entry);
  // While one is under way, the loop is busy with it.
  selfTest ??= passSelfTest(tools, opened);
  refuse(name, await selfTest, () => (selfTest = undefined));
  signal?.throwIfAborted();
  const withWork = argsWithWork(options, args);
  const outputs = new OutputStreams(options);
  const stdout = openOutput(opened.native, options.stdout, outputs.stdout?.socket);
  const stderr = openOutput(opened.native, options.stderr, outputs.stderr?.socket);
  try {
    const pid = await copy(tools, opened, name, () => {
      begin(tools, opened.native, options, stdout, stderr);
      void entry(...(withWork ?? args));
    });
    return { ...childOf(tools, opened.native, pid, outputs), hasWork: withWork !== undefined };
  } catch (error) {
    outputs.close();
    throw error;
  } finally {
    for (const file of [stdout, stderr]) if (file !== undefined) opened.native.libc.close(file);
  }
}

/** Forks as soon as this process can be copied; the result is the child's pid, in the parent alone. */
async function copy(tools: Forking, opened: Opened, name: string, child: () => void): Promise<number> {
  for (let round = 1; ; ) {
    refuse(name, await tools.quiesce(opened.forker));
    const fork = await inOwnTurn(() => {
      if (tools.underWay() !== undefined) return "again";
      prepareHeirs();
      const made = opened.forker.fork({ threads: THREADS, diesWithParent: true });
      if (made.role !== "child") return made;
      child();
      return undefined;
    });
    if (fork === "again") continue;
    // In another turn what stood in the way may be gone.
    if (fork.role === "refused" && fork.refusal.reason === "unstable" && round++ < ROUNDS) continue;
    if (fork.role === "refused") refuse(name, fork.refusal);
    if (fork.role === "parent") return fork.pid;
  }
}

/** Runs it with no function of the program on the stack, and nothing after it; what is undefined is never told. */
function inOwnTurn<T>(run: () => T | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    host.immediate(() => {
      try {
        const result = run();
        if (result !== undefined) resolve(result);
      } catch (error) {
        reject(error);
      }
    });
  });
}

/** In the child. */
function begin(
  tools: Forking,
  native: Native,
  { env, cwd }: StartOptions,
  stdout: number | undefined,
  stderr: number | undefined,
): void {
  tools.noteOutput();
  if (stdout !== undefined) tools.redirectOutput(native, "stdout", stdout);
  if (stderr !== undefined) tools.redirectOutput(native, "stderr", stderr);
  tools.estrange(native);
  tools.endWithoutCleanUp(native);
  becomeHeir();
  tools.changeSurroundings({ env, cwd });
}

function childOf(tools: Forking, native: Native, pid: number, outputs: OutputStreams): Child {
  const kid = tools.lookAfter(native, pid);
  let hasEnded = false;
  void kid.exited.then(() => {
    hasEnded = true;
  });
  kid.ref();
  return {
    pid,
    exited: kid.exited,
    ...outputs.connect(),
    kill(signal) {
      if (!hasEnded) native.libc.kill(pid, host.signalNumber(signal));
    },
    ref: () => {
      kid.ref();
      outputs.ref();
    },
    unref: () => {
      kid.unref();
      outputs.unref();
    },
  };
}

/** The file to which the child writes, if it is not its parent's own. */
function openOutput(native: Native, to: ChildOutput | undefined, socket: string | undefined): number | undefined {
  if (socket !== undefined) return connectTo(native, socket);
  return to === "ignore" ? native.libc.open("/dev/null", O_RDWR | O_CLOEXEC) : undefined;
}

/** What a child runs, loaded here so that it is there after the fork. */
async function loadEntry({ href }: URL): Promise<Entry> {
  const loading = entries.then(async (loaded) => {
    if (loaded.has(href)) return loaded;
    const { isStandingBy } = role;
    role.isStandingBy = true;
    try {
      const { run } = (await import(href)) as { run: Entry };
      return loaded.set(href, run);
    } finally {
      role.isStandingBy = isStandingBy;
    }
  });
  entries = loading.catch(() => new Map());
  return (await loading).get(href) as Entry;
}

async function passSelfTest(tools: Forking, { native, forker }: Opened): Promise<ForkRefusal | undefined> {
  const refused = await tools.quiesce(forker);
  if (refused !== undefined) return refused;
  const judged = deferred<ForkRefusal | undefined>();
  host.immediate(() => {
    const tested = tools.selfTest(native, forker, THREADS, () => {
      tools.estrange(native);
      tools.endWithoutCleanUp(native);
    });
    tested.then(judged.resolve, judged.reject);
  });
  return judged.promise;
}

/**
 * What forks this process.
 *
 * @throws {StartMethodError} if it cannot be forked
 */
function requireFork(name: string): Opened {
  const opened = openForFork();
  if ("reason" in opened) refuse(name, opened);
  return opened as Opened;
}

function refuse(name: string, refusal: ForkRefusal | undefined, before: () => void = () => {}): void {
  if (refusal === undefined) return;
  before();
  if (refusal.reason === "system") throw new StartError(`Cannot start ${name}: ${refusal.message}`);
  throw new StartMethodError(`Cannot fork ${name}: ${refusal.message}; "spawn" and "forkserver" start it anyway`);
}
