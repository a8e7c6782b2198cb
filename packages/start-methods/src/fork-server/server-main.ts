/**
 * The program of a fork server, from its start to the start of its children.
 *
 * The server loads the modules of its children, waits until no operation is pending, and forks a
 * probe child as a self-test. Then it serves requests. If any step fails, the owner receives the
 * reason instead of "ready".
 */
import {
  childConfig,
  connectTo,
  dropImportContexts,
  ECONNREFUSED,
  ENOENT,
  type Forking,
  forking,
  host,
  loadModules,
  type Native,
  native,
  O_CLOEXEC,
  O_RDWR,
  processRole,
  registry,
  resolveTarget,
  SIG_BLOCK,
  SIG_IGN,
  SIG_SETMASK,
  SIGINT,
  whyNoNative,
} from "@multiproc/core/internal";
import { failureOf } from "../start-failure.ts";
import { ClientConnection } from "./client-connection.ts";
import { listenAt } from "./listen-socket.ts";
import { awaitRequest } from "./preforked-child.ts";
import { type ForkRequest, type OutputTarget, type ServerConfig, type StartupResult, toLine } from "./protocol.ts";
import { RequestLoop } from "./request-loop.ts";
import { warmUpSessions } from "./warm-up.ts";

/**
 * The number of times that the warm-up calls each function. V8 collects type feedback from the
 * second call on, and compiles the function some calls later.
 */
const WARM_UP_ROUNDS = 25;
/** More than the size of `struct sigaction` on any system. Its content is opaque. */
const SIGACTION_BYTES = 512;
/** The size of a `sigset_t`. */
const SIGSET_BYTES = 128;

/** Runs a fork server with the configuration in the argument of this process. */
export async function runForkServer(): Promise<void> {
  const config = JSON.parse(host.takeArgs()[0] ?? "{}") as ServerConfig;
  const nativeApi = native();
  if (nativeApi === undefined)
    return reportWithoutNative(config, { refused: { reason: "native", message: whyNoNative()?.message as string } });
  const forkApi = forking();
  const owner = new ClientConnection(nativeApi, connectTo(nativeApi, config.ownerSocketPath));
  const result = await prepareServer(config, nativeApi, forkApi);
  if (!("ready" in result)) {
    owner.send(result);
    while (owner.read() !== undefined); // the owner closes after it has read the result
    return host.exit(0);
  }
  const listenFd = listenAt(nativeApi, config.socketPath);
  processRole.forkServer = { socketPath: config.socketPath, env: host.environment() ?? {} };
  owner.send(result);
  // Ctrl+C in a terminal is meant for the children; the server ends with its owner.
  const unblockSigint = blockSignal(nativeApi, SIGINT);
  // The loop runs in its own turn of the event loop. A microtask of the loaded modules that is still
  // queued would otherwise run in every child.
  host.afterIo(() => {
    const support = forkApi.openForker();
    if ("reason" in support) return host.exit(1);
    const task = new RequestLoop(forkApi, nativeApi, support.forker, config.threads, listenFd, owner).run();
    if ("request" in task) {
      unblockSigint();
      void runChild(task.request, nativeApi, forkApi);
    } else void runPreforkedChild(task.pipeFd, config, nativeApi, forkApi, unblockSigint);
  });
}

/**
 * Runs a preforked child: a dry run, then the request. The dry run copies the memory pages that
 * every child writes to, before the client waits for them.
 */
async function runPreforkedChild(
  pipeFd: number,
  config: ServerConfig,
  nativeApi: Native,
  forkApi: Forking,
  unblockSigint: () => void,
): Promise<void> {
  await warmUpChild(1, config, nativeApi, forkApi);
  const request = awaitRequest(nativeApi, pipeFd);
  unblockSigint();
  await runChild(request, nativeApi, forkApi);
}

/** Loads the modules, and makes this process fit to be forked. */
async function prepareServer(config: ServerConfig, nativeApi: Native, forkApi: Forking): Promise<StartupResult> {
  forkApi.replaceMathRandom();
  forkApi.watchOutput();
  warmUpFork(nativeApi, forkApi);
  await warmUpSessions(`${config.socketPath}r`);
  processRole.isStandby = true;
  const ownSockets = forkApi.openSocketInodes();
  childConfig.isImporting = true;
  try {
    for (const module of config.preload) await loadModules([module]);
  } catch (error) {
    return { failed: failureOf(error) };
  }
  // The contexts of imports would cost each child time. Without them, `isImporting` still refuses
  // starts by modules of the server, except while a warm-up call runs.
  dropImportContexts();
  await warmUpChild(WARM_UP_ROUNDS, config, nativeApi, forkApi);
  const busyRefusal = await forkApi.waitUntilIdle(ownSockets);
  if (busyRefusal !== undefined) return { refused: busyRefusal };
  forkApi.collectGarbage();
  const support = forkApi.openForker();
  if ("reason" in support) return { refused: support };
  const selfTestRefusal = await forkApi.selfTest(nativeApi, support.forker, config.threads);
  forkApi.drainRandomPools();
  return selfTestRefusal === undefined ? { ready: true } : { refused: selfTestRefusal };
}

/** Runs the first steps after a fork in the server, so that children inherit them compiled. */
function warmUpFork(nativeApi: Native, forkApi: Forking): void {
  for (let i = 0; i < WARM_UP_ROUNDS; i++) {
    forkApi.resetProcess(nativeApi);
    forkApi.redirectOutput(nativeApi, "stdout", nativeApi.libc.dup(1));
    forkApi.redirectOutput(nativeApi, "stderr", nativeApi.libc.dup(2));
    blockSignal(nativeApi, SIGINT)();
    forkApi.warmUpExit();
  }
}

/** Runs a request without effect, so that children inherit the code of a request compiled. */
async function warmUpChild(
  rounds: number,
  { warmUpModules }: ServerConfig,
  nativeApi: Native,
  forkApi: Forking,
): Promise<void> {
  const call = { module: import.meta.url, name: "nothing" };
  registry.modules.set(call.module, { nothing: () => {} });
  const { isImporting } = childConfig;
  const childEnvironment = { env: { MULTIPROC_NOTHING: null }, cwd: host.cwd(), stdout: "inherit", stderr: "inherit" };
  const request = JSON.stringify({ call, args: [""], ...childEnvironment });
  for (let i = 0; i < rounds; i++) {
    await runChild(JSON.parse(request) as ForkRequest, nativeApi, forkApi);
    for (const module of warmUpModules) await (registry.modules.get(module)?.warmUp as (() => unknown) | undefined)?.();
  }
  registry.modules.delete(call.module);
  processRole.isStandby = true;
  childConfig.isImporting = isImporting;
}

async function runChild(request: ForkRequest, nativeApi: Native, forkApi: Forking): Promise<void> {
  const { call, args, env, cwd, stdout, stderr } = request;
  // The child itself opens the streams, because a preforked child exists before its request.
  for (const [name, output] of [
    ["stdout", stdout],
    ["stderr", stderr],
  ] as const) {
    const fd = openOutput(nativeApi, output);
    if (fd !== undefined) forkApi.redirectOutput(nativeApi, name, fd);
  }
  processRole.isStandby = false;
  childConfig.isImporting = false;
  const scriptPath = call.module.startsWith("file:") ? decodeURIComponent(new URL(call.module).pathname) : call.module;
  forkApi.applyEnvironment({ env, cwd, argv: [scriptPath] });
  await loadModules([call.module]);
  await resolveTarget(call)(...args);
}

function openOutput(nativeApi: Native, output: OutputTarget): number | undefined {
  if (output === "inherit") return undefined;
  if (output === "ignore") return nativeApi.libc.open("/dev/null", O_RDWR | O_CLOEXEC);
  try {
    return connectTo(nativeApi, output.socketPath);
  } catch (error) {
    // The client has ended, and does not listen any more.
    const { errno } = error as { errno?: number };
    if (errno === ECONNREFUSED || errno === ENOENT) nativeApi.libc._exit(0);
    throw error;
  }
}

/**
 * Blocks a signal until the returned function is called. The signal stays pending in a child
 * instead of being lost, because a blocked signal is never ignored (signal(7)). The other threads
 * of the server do not block the signal; they ignore it.
 *
 * The action is restored with its flags. The handler of Node for SIGINT raises the signal again, and
 * relies on SA_RESETHAND: it must not be called a second time.
 */
function blockSignal({ libc }: Native, signal: number): () => void {
  const [blocked, previousMask] = [new Uint8Array(SIGSET_BYTES), new Uint8Array(SIGSET_BYTES)];
  blocked[(signal - 1) >> 3] = 1 << ((signal - 1) & 7);
  const previousAction = new Uint8Array(SIGACTION_BYTES);
  libc.sigprocmask(SIG_BLOCK, blocked, previousMask);
  libc.sigaction(signal, null, previousAction);
  libc.signal(signal, SIG_IGN);
  return () => {
    libc.sigaction(signal, previousAction, null);
    libc.sigprocmask(SIG_SETMASK, previousMask, null);
  };
}

/** Sends the result by the event loop, where the C library cannot be called. */
async function reportWithoutNative(config: ServerConfig, result: StartupResult): Promise<void> {
  const stream = await host.connect(config.ownerSocketPath);
  stream.start({ data: () => {}, end: () => host.exit(0), drain: () => {} });
  stream.write(toLine(result));
}
