/**
 * A fork server, from its start to the start of its children.
 *
 * It loads what its children shall find loaded, waits until nothing of that is under way, has one probe child show that
 * children are well, and serves. What stands in the way of any of this is told to the owner, in place of "ready".
 */
import {
  type Forking,
  forking,
  host,
  inherited,
  loadModules,
  missingNative,
  type Native,
  native,
  registry,
  resolveTarget,
  role,
} from "@multiproc/core/internal";
import { failureOf } from "../failure.ts";
import { Caller } from "./caller.ts";
import { SIG_IGN, SIGINT } from "./linux.ts";
import { type Greeting, type ServerConfig, toLine } from "./protocol.ts";
import { rehearseSessions } from "./rehearsal.ts";
import { type ChildWork, Serving } from "./serving.ts";
import { connectTo, listenAt } from "./sockets.ts";

/** V8 keeps what it learns about a function from its second call on, and makes fast code of it after some more. */
const REHEARSALS = 25;
/** More than `struct sigaction` takes anywhere; what is in it is only put back. */
const SIGACTION_SIZE = 512;

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
  const interrupt = ignore(libc, SIGINT);
  // From a turn of the loop of its own, so that no microtask of the modules is left to run in every child.
  host.immediate(() => {
    const opened = tools.openForker();
    if ("reason" in opened) return host.exit(1);
    const work = new Serving(tools, libc, opened.forker, config.threads, listener, owner).serve();
    interrupt();
    void runChild(work, libc, tools);
  });
}

/** Makes this process fit to be copied. */
async function prepare(config: ServerConfig, libc: Native, tools: Forking): Promise<Greeting> {
  tools.replaceMathRandom();
  tools.watchOutput();
  await rehearse(libc, tools);
  await rehearseSessions(`${config.address}r`);
  const ownSockets = tools.openSockets();
  inherited.isImporting = true;
  try {
    for (const module of config.preload) await loadModules([module]);
    if (config.rehearsal !== undefined) {
      await loadModules([config.rehearsal.module]);
      await resolveTarget(config.rehearsal)();
    }
  } catch (error) {
    return { failed: failureOf(error) };
  }
  const unsettled = await tools.settle(ownSockets);
  if (unsettled !== undefined) return { refused: unsettled };
  tools.collectGarbage();
  const opened = tools.openForker();
  if ("reason" in opened) return { refused: opened };
  const refused = await tools.selfTest(libc, opened.forker, config.threads);
  tools.emptyStocks();
  return refused === undefined ? { ready: true } : { refused };
}

/** Does here what each child does first, so that it is compiled before the children are made. */
async function rehearse(libc: Native, tools: Forking): Promise<void> {
  const call = { module: import.meta.url, name: "nothing" };
  registry.modules.set(call.module, { nothing: () => {} });
  const request = { call, args: [""], env: { MULTIPROC_NOTHING: null }, stdout: "inherit", stderr: "inherit" } as const;
  for (let i = 0; i < REHEARSALS; i++) {
    tools.renewProcess(libc);
    await runChild({ request, stdout: libc.libc.dup(1), stderr: libc.libc.dup(2) }, libc, tools);
  }
  registry.modules.delete(call.module);
  role.isStandingBy = true;
}

async function runChild({ request, stdout, stderr }: ChildWork, libc: Native, tools: Forking): Promise<void> {
  if (stdout !== undefined) tools.redirectOutput(libc, "stdout", stdout);
  if (stderr !== undefined) tools.redirectOutput(libc, "stderr", stderr);
  role.isStandingBy = false;
  inherited.isImporting = false;
  const { call, args, env, cwd } = request;
  const argv = call.module.startsWith("file:") ? decodeURIComponent(new URL(call.module).pathname) : call.module;
  tools.changeSurroundings({ env, cwd, argv: [argv] });
  await loadModules([call.module]);
  await resolveTarget(call)(...args);
}

/**
 * Has this process ignore a signal, until the returned function is called. The whole action is put back as it was, flags
 * included: Node's own for SIGINT raises it again, and counts on being called once.
 */
function ignore({ libc }: Native, signal: number): () => void {
  const action = new Uint8Array(SIGACTION_SIZE);
  libc.sigaction(signal, null, action);
  libc.signal(signal, SIG_IGN);
  return () => void libc.sigaction(signal, action, null);
}

/** The one thing that is said where there is no fork to keep the event loop's sockets out of. */
async function sayWithoutNative(config: ServerConfig, greeting: Greeting): Promise<void> {
  const stream = await host.connect(config.owner);
  stream.start({ data: () => {}, end: () => host.exit(0), drain: () => {} });
  stream.write(toLine(greeting));
}
