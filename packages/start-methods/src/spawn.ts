/**
 * The start method `spawn`: a fresh interpreter.
 *
 * ```text
 * parent                                   child
 *   invitation ── command line ──────────>   starts, loads its entry
 *   guard is told of the child               dials the parent's door
 *   START message, …  <──── channel ────>    receives, runs
 * ```
 *
 * The child gets its work only when the guard knows of it, so that it cannot outlive a parent that dies at any moment; until
 * then it does nothing but wait for the channel, and ends when that closes.
 */
import { StartError } from "@multiproc/core";
import {
  type Carrier,
  type Channel,
  type ExitStatus,
  host,
  invite,
  lifetime,
  placeForChild,
  revoke,
  type Subprocess,
} from "@multiproc/core/internal";
import { getExecutable } from "./executable.ts";
import type { Child, StartOptions } from "./method.ts";

/**
 * Starts a child in a fresh interpreter; settles when it is up and has its work.
 *
 * @throws {StartError} if it cannot be started, or ends before it is ready
 * @internal
 */
export async function spawn(options: StartOptions): Promise<Child> {
  const { name, signal } = options;
  signal?.throwIfAborted();
  const over = deferred<unknown>();
  const carrier: Carrier = { onEnd: (run) => void over.promise.then(run) };
  // At the call: what is handed over here counts as handed over, whatever happens while the child comes up.
  for (const message of options.messages) message.commit(carrier);
  const place = placeForChild();
  const arrival = deferred<Channel>();
  const invitation = invite((channel) => {
    // All that a child says on this channel is that it is there.
    channel.start({ message: () => channel.destroy(), closed: () => {} });
    arrival.resolve(channel);
  });
  try {
    const child = await launch(options, [invitation.address, invitation.token, place]);
    const ended = child.exited.then((status) => {
      lifetime.forget(child.pid);
      host.remove(place);
      over.resolve(status);
      return status;
    });
    const [channel] = await Promise.all([ready(arrival.promise, ended, child, options), lifetime.watch(child.pid)]);
    for (const { frame } of options.messages) if (!channel.closed) channel.forward(0, frame);
    // Large binary arguments are read from the caller's memory, which is free again when the start has succeeded.
    await channel.flushed();
    return child;
  } catch (error) {
    revoke(invitation);
    over.resolve(error);
    if (error instanceof StartError || signal?.aborted) throw error;
    throw new StartError(`Cannot start ${name}: ${(error as Error).message}`, { cause: error });
  }
}

async function launch(options: StartOptions, args: string[]): Promise<Subprocess> {
  const { cwd, env, execArgv, permissions, stdio } = options;
  const executable = getExecutable();
  const sockets = [args[0] as string, args[2] as string];
  const command = host.interpreter({
    entry: options.entry,
    args,
    execArgv,
    executable,
    permissions,
    reach: { read: options.modules.flatMap(filePath), write: [], sockets },
  });
  try {
    return await host.spawn(command.file, {
      args: command.args,
      env,
      cwd,
      stdout: stdio ?? "inherit",
      stderr: stdio ?? "inherit",
    });
  } catch (cause) {
    throw new StartError(`Cannot start ${options.name}: ${reasonOf(cause as Error, command.file, cwd)}`, { cause });
  }
}

/** Waits for the child to come to the door, but no longer than it lives. */
async function ready(
  arrival: Promise<Channel>,
  ended: Promise<ExitStatus>,
  child: Subprocess,
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
    const first = await Promise.race([arrival, ended, aborted.promise]);
    if ("start" in first) return first;
    const how = first.signal === null ? `exit code ${first.code}` : `signal ${first.signal}`;
    throw new StartError(
      `${name} (pid ${child.pid}) ended with ${how} before it was ready: see what it wrote to its standard error, and check execArgv, env and the memory that is left`,
      { exitCode: first.code, signal: first.signal },
    );
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** The system says the same of a missing program and of a missing folder. */
function reasonOf(cause: Error & { code?: string }, file: string, cwd: string | undefined): string {
  const isMissing = cause.code === "ENOENT" || cause.code === "ENOTDIR" || cause.name === "NotFound";
  if (!isMissing) return cause.message;
  return cwd === undefined
    ? `there is no program "${file}"; see setExecutable()`
    : `there is no program "${file}", or no folder "${cwd}" to start it in`;
}

function filePath(url: string): string[] {
  return url.startsWith("file:") ? [decodeURIComponent(new URL(url).pathname)] : [];
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(reason: unknown): void;
}

function deferred<T>(): Deferred<T> {
  const made = {} as { -readonly [K in keyof Deferred<T>]: Deferred<T>[K] };
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  made.promise.catch(() => {}); // whoever waits for it hears of it
  return made;
}
