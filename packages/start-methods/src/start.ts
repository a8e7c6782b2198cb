/**
 * The start of a child, whatever brings it to life.
 *
 * ```text
 * parent                                   child
 *   invitation ── arguments ────────────>   comes to be, by the start method; runs its entry
 *   guard is told of the child               dials the parent's door
 *   START message, …  <──── channel ────>    receives, runs
 * ```
 *
 * The child gets its work only when the guard knows of it, so that it cannot outlive a parent that dies at any moment; until
 * then it does nothing but wait for the channel, and ends when that closes. A child that is forked ends with its parent in any
 * case, by the kernel or by its server: it is made with its work, and there is no channel.
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

/** What brings children to life. What only one method needs is loaded with its first child. */
const LAUNCHERS: Readonly<Record<StartMethod, Launcher>> = {
  spawn: spawnChild,
  forkserver: forkserverChild,
  fork: async (options, args) => (await import("./fork.ts")).forkChild(options, args),
};

/**
 * Starts a child; settles when it is up and has its work.
 *
 * @throws {StartMethodError} if the start method is not to be had here, or not now
 * @throws {StartError} if the child cannot be started, or ends before it is ready
 * @internal
 */
export async function start(options: StartOptions): Promise<Child> {
  const { name, method, signal } = options;
  requireStartMethod(method);
  signal?.throwIfAborted();
  const deliveryEnd = deferred<unknown>();
  const scope: DeliveryScope = { onEnd: (run) => void deliveryEnd.promise.then(run) };
  // At the call: what is handed over here counts as handed over, whatever happens while the child comes up.
  for (const message of options.messages) message.commit(scope);
  const socketPath = reserveSocketPath();
  const connected = deferred<Channel>();
  const endpoint = exposeEndpoint((channel) => {
    // All that a child says on this channel is that it is there.
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
    // Large binary arguments are read from the caller's memory, which is free again when the start has succeeded.
    await channel.flushed();
    return child;
  } catch (error) {
    closeEndpoint(endpoint);
    deliveryEnd.resolve(error);
    if (error instanceof StartError || error instanceof StartMethodError || signal?.aborted) throw error;
    throw new StartError(`Cannot start ${name}: ${(error as Error).message}`, { cause: error });
  }
}

/** Waits for the child to come to the door, but no longer than it lives. */
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
  if (signal?.aborted) abort(); // while the program was started
  try {
    const first = await Promise.race([connected, ended, aborted.promise]);
    if ("start" in first) return first;
    throw earlyExitError(name, child.pid, first);
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}
