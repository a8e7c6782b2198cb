/**
 * The start of a child, the same for all start methods.
 *
 * ```text
 * parent                                           child
 *   endpoint, token ──────── arguments ──────────>   is created by the start method, runs its entry
 *   the watchdog learns the pid of the child         dials the endpoint of the parent
 *   START message, … <────── channel ─────────────>  receives the messages, runs
 * ```
 *
 * Invariant: a child runs code of the program only once the watchdog knows it, so that it cannot
 * outlive a parent that dies at any moment. Until then it waits for the channel, and ends when the
 * channel closes. A forked child or a spare does not need this channel: the kernel, the fork server
 * or the channel of the spare ends it with its parent. It gets short messages in its arguments.
 */
import { StartError } from "@multiproc/core";
import {
  type Channel,
  cleanup,
  closeEndpoint,
  type DeliveryScope,
  type ExitStatus,
  exposeEndpoint,
  host,
  reserveSocketPath,
} from "@multiproc/core/internal";
import { deferred } from "./deferred.ts";
import { forkserverChild } from "./forkserver.ts";
import type { Child, Launcher, StartMethod, StartOptions } from "./launcher.ts";
import { spawnChild } from "./spawn.ts";
import { earlyExitError } from "./start-failure.ts";
import { requireStartMethod, StartMethodError } from "./start-method.ts";

/** The launchers. `fork` is loaded with its first child, because few programs use it. */
const LAUNCHERS: Readonly<Record<StartMethod, Launcher>> = {
  spawn: spawnChild,
  forkserver: forkserverChild,
  fork: async (options, args) => (await import("./fork.ts")).forkChild(options, args),
};

/**
 * Starts a child. The promise resolves when the child runs and has received its messages.
 *
 * @throws {StartMethodError} if the start method is not available here, or not now
 * @throws {StartError} if the child cannot be started, or ends before it is ready
 * @internal
 */
export async function start(options: StartOptions): Promise<Child> {
  const { name, method, signal } = options;
  requireStartMethod(method);
  signal?.throwIfAborted();
  const deliveryEnd = deferred<unknown>();
  const scope: DeliveryScope = { onEnd: (run) => void deliveryEnd.promise.then(run) };
  // From now on, the shareable objects in the messages are handed over, even if the start fails.
  for (const message of options.messages) message.commit(scope);
  const socketPath = reserveSocketPath();
  const connected = deferred<Channel>();
  const endpoint = exposeEndpoint((channel) => {
    // The connection shows that the child runs. The child sends nothing: a message is an error.
    channel.start({ message: () => channel.destroy(), closed: () => {} });
    connected.resolve(channel);
  });
  try {
    const child = await LAUNCHERS[method](options, [endpoint.socketPath, endpoint.token, socketPath]);
    const ended = child.exited.then((status) => {
      cleanup.forgetChild(child.pid);
      host.remove(socketPath);
      deliveryEnd.resolve(status);
      return status;
    });
    const watched = cleanup.watchChild(child.pid);
    if (child.hasPayload === true) {
      closeEndpoint(endpoint);
      if (signal?.aborted) child.kill("SIGKILL");
      signal?.throwIfAborted();
      return child;
    }
    const [channel] = await Promise.all([waitForConnection(connected.promise, ended, child, options), watched]);
    for (const { frame } of options.messages) if (!channel.closed) channel.forward(0, frame);
    // Large binary arguments are sent from the memory of the caller, which may change after the
    // start.
    await channel.flushed();
    return child;
  } catch (error) {
    closeEndpoint(endpoint);
    deliveryEnd.resolve(error);
    if (error instanceof StartError || error instanceof StartMethodError || signal?.aborted) throw error;
    throw new StartError(`Cannot start ${name}: ${(error as Error).message}`, { cause: error });
  }
}

/** Waits until the child has connected or has ended. */
async function waitForConnection(
  connected: Promise<Channel>,
  ended: Promise<ExitStatus>,
  child: Child,
  options: StartOptions,
): Promise<Channel> {
  const { name, signal } = options;
  const aborted = deferred<never>();
  const abort = (): void => {
    child.kill("SIGKILL");
    aborted.reject(signal?.reason);
  };
  signal?.addEventListener("abort", abort, { once: true });
  if (signal?.aborted) abort(); // it was aborted while the interpreter was started
  try {
    const first = await Promise.race([connected, ended, aborted.promise]);
    if ("start" in first) return first;
    throw earlyExitError(name, child.pid, first);
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}
