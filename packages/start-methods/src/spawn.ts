/** The start method `spawn`: each child is a new interpreter. */
import { StartError } from "@multiproc/core";
import { host, routeOutput, toStdio } from "@multiproc/core/internal";
import { getExecutable } from "./executable.ts";
import type { Child, StartOptions } from "./launcher.ts";

/** Starts an interpreter that runs the entry. */
export async function spawnChild(options: StartOptions, args: readonly string[]): Promise<Child> {
  const { cwd, env, execArgv, permissions, stdout, stderr } = options;
  const executable = getExecutable();
  const sockets = [args[0] as string, args[2] as string];
  const command = host.interpreter({
    entry: options.entry,
    args,
    execArgv,
    executable,
    permissions,
    requiredAccess: { read: options.modules.flatMap(filePath), write: [], sockets },
  });
  try {
    const subprocess = await host.spawn(command.file, {
      args: command.args,
      env: command.env === undefined ? env : { ...command.env, ...env },
      cwd,
      stdout: toStdio(stdout),
      stderr: toStdio(stderr),
    });
    return {
      pid: subprocess.pid,
      exited: subprocess.exited,
      stdout: routeOutput(subprocess.stdout, stdout),
      stderr: routeOutput(subprocess.stderr, stderr),
      kill: (signal) => subprocess.kill(signal),
      ref: () => subprocess.ref(),
      unref: () => subprocess.unref(),
    };
  } catch (cause) {
    throw new StartError(`Cannot start ${options.name}: ${reasonOf(cause as Error, command.file, cwd)}`, { cause });
  }
}

/**
 * Returns the reason in words. The system reports a missing program and a missing folder by the
 * same error.
 */
function reasonOf(cause: Error & { code?: string }, file: string, cwd: string | undefined): string {
  const isMissing = cause.code === "ENOENT" || cause.code === "ENOTDIR" || cause.name === "NotFound";
  if (!isMissing) return cause.message;
  return cwd === undefined
    ? `there is no program "${file}"; see setExecutable()`
    : `there is no program "${file}", or no folder "${cwd}" to start it in`;
}

/** Returns the path of a module in an array, which is empty if the module is not a file. */
export function filePath(url: string): string[] {
  return url.startsWith("file:") ? [decodeURIComponent(new URL(url).pathname)] : [];
}
