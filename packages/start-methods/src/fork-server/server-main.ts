/**
 * A fork server, from its start to the start of its children.
 *
 * It loads what its children shall find loaded, waits until nothing of that is under way, has one probe child show that
 * children are well, and serves. What stands in the way of any of this is told to the owner, in place of "ready".
 */
import {
  connectTo,
  ECONNREFUSED,
  ENOENT,
  type Forking,
  forking,
  host,
  inherited,
  loadModules,
  missingNative,
  type Native,
  native,
  O_CLOEXEC,
  O_RDWR,
  registry,
  resolveTarget,
  role,
  SIG_BLOCK,
  SIG_IGN,
  SIG_SETMASK,
  SIGINT,
} from "@multiproc/core/internal";
import { failureOf } from "../start-failure.ts";
import { Caller } from "./client-connection.ts";
import { listenAt } from "./listen-socket.ts";
import { awaitRequest } from "./preforked-child.ts";
import { type ForkRequest, type Greeting, type Output, type ServerConfig, toLine } from "./protocol.ts";
import { Serving } from "./request-loop.ts";
import { rehearseSessions } from "./warm-up.ts";

/** V8 keeps what it learns about a function from its second call on, and makes fast code of it after some more. */
const REHEARSALS = 25;
/** More than `struct sigaction` takes anywhere; what is in it is only put back. */
const SIGACTION_SIZE = 512;
/** The size of a `sigset_t`. */
const SIGSET_SIZE = 128;

/** Makes this process a fork server, as its argument says; what its entry runs. */
export async function serveForks(): Promise<void> {
  const config = JSON.parse(host.takeArgs()[0] ?? "{}") as ServerConfig;
  const libc = native();
  if (libc === undefined)
    return sayWithoutNative(config, { refused: { reason: "native", message: missingNative()?.message as string } });
  const tools = forking();
  const owner = new Caller(libc, connectTo(libc, config.owner));
  const greeting = await prepare(config, libc, tools);
  if (!("ready" in greeting)) {
    owner.say(greeting);
    while (owner.read() !== undefined); // it closes when it has read that; an end before that would be a mystery to it
    return host.exit(0);
  }
  const listener = listenAt(libc, config.address);
  role.server = { address: config.address, env: host.environment() ?? {} };
  owner.say(greeting);
  // A terminal's Ctrl+C is for the children; the server ends with its owner.
  const interrupt = withhold(libc, SIGINT);
  // From a turn of the loop of its own, so that no microtask of the modules is left to run in every child.
  host.immediate(() => {
    const opened = tools.openForker();
    if ("reason" in opened) return host.exit(1);
    const work = new Serving(tools, libc, opened.forker, config.threads, listener, owner).serve();
    if ("request" in work) {
      interrupt();
      void runChild(work.request, libc, tools);
    } else void standBy(work.pipe, config, libc, tools, interrupt);
  });
}

/** In a child that nobody has asked for yet. What it does for nothing first, it finds in memory of its own when it is time. */
async function standBy(
  pipe: number,
  config: ServerConfig,
  libc: Native,
  tools: Forking,
  interrupt: () => void,
): Promise<void> {
  await rehearse(1, config, libc, tools);
  const request = awaitRequest(libc, pipe);
  interrupt();
  await runChild(request, libc, tools);
}

/** Makes this process fit to be copied. */
async function prepare(config: ServerConfig, libc: Native, tools: Forking): Promise<Greeting> {
  tools.replaceMathRandom();
  tools.watchOutput();
  rehearseFork(libc, tools);
  await rehearseSessions(`${config.address}r`);
  role.isStandingBy = true;
  const ownSockets = tools.openSockets();
  inherited.isImporting = true;
  try {
    for (const module of config.preload) await loadModules([module]);
  } catch (error) {
    return { failed: failureOf(error) };
  }
  await rehearse(REHEARSALS, config, libc, tools);
  const unsettled = await tools.settle(ownSockets);
  if (unsettled !== undefined) return { refused: unsettled };
  tools.collectGarbage();
  const opened = tools.openForker();
  if ("reason" in opened) return { refused: opened };
  const refused = await tools.selfTest(libc, opened.forker, config.threads);
  tools.emptyStocks();
  return refused === undefined ? { ready: true } : { refused };
}

/** Does here what each child does right after the fork, so that it is compiled before the children are made. */
function rehearseFork(libc: Native, tools: Forking): void {
  for (let i = 0; i < REHEARSALS; i++) {
    tools.renewProcess(libc);
    tools.redirectOutput(libc, "stdout", libc.libc.dup(1));
    tools.redirectOutput(libc, "stderr", libc.libc.dup(2));
    withhold(libc, SIGINT)();
    tools.rehearseExit();
  }
}

/** The same for what each child does when it knows its work. */
async function rehearse(times: number, { rehearsals }: ServerConfig, libc: Native, tools: Forking): Promise<void> {
  const call = { module: import.meta.url, name: "nothing" };
  registry.modules.set(call.module, { nothing: () => {} });
  const { isImporting } = inherited;
  const surroundings = { env: { MULTIPROC_NOTHING: null }, cwd: host.cwd(), stdout: "inherit", stderr: "inherit" };
  const request = JSON.stringify({ call, args: [""], ...surroundings });
  for (let i = 0; i < times; i++) {
    await runChild(JSON.parse(request) as ForkRequest, libc, tools);
    for (const module of rehearsals) await (registry.modules.get(module)?.rehearse as (() => unknown) | undefined)?.();
  }
  registry.modules.delete(call.module);
  role.isStandingBy = true;
  inherited.isImporting = isImporting;
}

async function runChild(request: ForkRequest, libc: Native, tools: Forking): Promise<void> {
  const { call, args, env, cwd, stdout, stderr } = request;
  // Opened by the child, which may be older than the request.
  for (const [name, output] of [
    ["stdout", stdout],
    ["stderr", stderr],
  ] as const) {
    const file = openOutput(libc, output);
    if (file !== undefined) tools.redirectOutput(libc, name, file);
  }
  role.isStandingBy = false;
  inherited.isImporting = false;
  const argv = call.module.startsWith("file:") ? decodeURIComponent(new URL(call.module).pathname) : call.module;
  tools.changeSurroundings({ env, cwd, argv: [argv] });
  await loadModules([call.module]);
  await resolveTarget(call)(...args);
}

function openOutput(libc: Native, output: Output): number | undefined {
  if (output === "inherit") return undefined;
  if (output === "ignore") return libc.libc.open("/dev/null", O_RDWR | O_CLOEXEC);
  try {
    return connectTo(libc, output.socket);
  } catch (error) {
    // Nobody listens there any more: who asked for this child has ended meanwhile.
    const { errno } = error as { errno?: number };
    if (errno === ECONNREFUSED || errno === ENOENT) libc.libc._exit(0);
    throw error;
  }
}

/**
 * Keeps a signal from this process, until the returned function is called. What is sent to a child before that waits for it,
 * instead of being lost: a blocked signal is never ignored (signal(7)). The server's other threads do not block it, but ignore it.
 *
 * The whole action is put back as it was, flags included: Node's own for SIGINT raises it again, and counts on being called
 * once.
 */
function withhold({ libc }: Native, signal: number): () => void {
  const [blocked, mask] = [new Uint8Array(SIGSET_SIZE), new Uint8Array(SIGSET_SIZE)];
  blocked[(signal - 1) >> 3] = 1 << ((signal - 1) & 7);
  const action = new Uint8Array(SIGACTION_SIZE);
  libc.sigprocmask(SIG_BLOCK, blocked, mask);
  libc.sigaction(signal, null, action);
  libc.signal(signal, SIG_IGN);
  return () => {
    libc.sigaction(signal, action, null);
    libc.sigprocmask(SIG_SETMASK, mask, null);
  };
}

/** The one thing that is said where there is no fork to keep the event loop's sockets out of. */
async function sayWithoutNative(config: ServerConfig, greeting: Greeting): Promise<void> {
  const stream = await host.connect(config.owner);
  stream.start({ data: () => {}, end: () => host.exit(0), drain: () => {} });
  stream.write(toLine(greeting));
}
