/** `exec()`: the system call that replaces the program of this process. */
import { StartError } from "@multiproc/core";
import {
  checkOptions,
  describeValue,
  flushNow,
  host,
  type Native,
  native,
  whyNoNative,
} from "@multiproc/core/internal";
import { StartMethodError } from "./start-method.ts";

/**
 * The options of `exec()`.
 *
 * @example An environment of its own
 * ```ts
 * import { exec, type ExecOptions, fork, getAllStartMethods, waitpid } from "@multiproc/start-methods";
 *
 * const options: ExecOptions = { env: { CODE: "4" } };
 * if (getAllStartMethods().includes("fork")) {
 *   const pid = fork();
 *   if (pid === 0) exec("/bin/sh", ["-c", "exit $CODE"], options);
 *   console.log(await waitpid(pid)); // 4
 * }
 * ```
 */
export interface ExecOptions {
  /**
   * The whole environment of the program, as with the system call. @default that of this process
   */
  readonly env?: Readonly<Record<string, string>> | undefined;
}

/** The search path if `PATH` is not set. */
const DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin";
const EACCES = 13;
/** Errors after which the search continues with the next folder. */
const KEEP_SEARCHING_ERRORS = new Set(["ENOENT", "ENOTDIR", "EACCES"]);
/** The names of errors by their numbers, which are the same on Linux and macOS. */
const ERRNO_NAMES: Readonly<Record<number, string>> = {
  1: "EPERM",
  2: "ENOENT",
  5: "EIO",
  7: "E2BIG",
  8: "ENOEXEC",
  12: "ENOMEM",
  [EACCES]: "EACCES",
  20: "ENOTDIR",
  21: "EISDIR",
  26: "ETXTBSY",
};
const ERRNO_REASONS: Readonly<Record<string, string>> = {
  EACCES: "it may not be executed, or is a folder",
  EISDIR: "it is a folder",
  EPERM: "it may not be executed",
  ENOEXEC: "it is neither a program of this system nor a script that begins with #!",
  E2BIG: "the arguments and the environment are too long",
  ETXTBSY: "another process is writing to it",
  ENOMEM: "there is too little memory",
};

/**
 * Replaces the program of this process by another one, as the system call does. The process keeps
 * its pid. `exec()` does not return.
 *
 * Standard input, output and error stay open; other descriptors of this program are closed. Signal
 * handlers are reset. `exit` listeners do not run. For children, queues and pipes of this library,
 * this process has ended. In the child of a `Process`, the new program ends with the parent, as the
 * child would. `join()` in the parent returns the exit code of the new program.
 *
 * @param file the path of the program; a name without a slash is looked up in `PATH`
 * @param args its arguments, without its name
 * @param options its environment
 * @throws {StartError} if there is no such program, or it cannot be executed
 * @throws {StartMethodError} if the C library cannot be called here, or output is not written yet
 * @throws {TypeError} for arguments that are not strings or contain a zero, and for an unknown
 * option
 *
 * @example A child becomes another program
 * ```ts
 * import { exec, fork, getAllStartMethods, waitpid } from "@multiproc/start-methods";
 *
 * if (getAllStartMethods().includes("fork")) {
 *   const pid = fork();
 *   if (pid === 0) exec("sh", ["-c", "exit 3"]);
 *   console.log(await waitpid(pid)); // 3
 * }
 * ```
 */
export function exec(file: string, args: readonly string[] = [], options: ExecOptions = {}): never {
  checkOptions("exec()", options, ["env"]);
  const argv = checkedArgv(file, args, options.env);
  const nativeApi = native();
  if (nativeApi === undefined) {
    throw new StartMethodError(`exec() cannot call the C library: ${whyNoNative()?.message}`, {
      cause: whyNoNative()?.cause,
    });
  }
  const pendingBytes = host.pendingOutput();
  if (pendingBytes > 0) {
    throw new StartMethodError(
      `exec() would lose ${pendingBytes} bytes of output: wait for the callback of process.stdout.write() first`,
    );
  }
  flushNow();
  const restore = resetStdioAndSignals(nativeApi);
  const errorName = execFirstFound(nativeApi, file, argv, options.env);
  restore();
  throw new StartError(reasonOf(file, errorName, options.env));
}

/**
 * Executes the first program that it finds. It returns only on failure, with the name of the error.
 */
function execFirstFound(nativeApi: Native, file: string, argv: readonly string[], env: ExecOptions["env"]): string {
  const { libc } = nativeApi;
  const cArgv = toCStringArray(libc, argv);
  const cEnvp =
    env === undefined
      ? undefined
      : toCStringArray(
          libc,
          Object.entries(env).map(([name, value]) => `${name}=${value}`),
        );
  let errorName = "ENOENT";
  for (const path of candidatePaths(file, env)) {
    if (cEnvp === undefined) libc.execv(path, cArgv);
    else libc.execve(path, cArgv, cEnvp);
    const errno = nativeApi.errno();
    const name = ERRNO_NAMES[errno] ?? `errno ${errno}`;
    if (!KEEP_SEARCHING_ERRORS.has(name)) return name;
    // "May not be executed" helps the caller more than "not found" in a later folder.
    if (name === "EACCES" || errorName !== "EACCES") errorName = name;
  }
  return errorName;
}

function candidatePaths(file: string, env: ExecOptions["env"]): string[] {
  if (file.includes("/")) return [file];
  const searchPath = (env === undefined ? host.env("PATH") : env.PATH) || DEFAULT_PATH;
  return searchPath.split(":").map((folder) => (folder === "" ? file : `${folder}/${file}`));
}

/**
 * Resets standard streams and signals for the new program; returns a function that restores them.
 */
function resetStdioAndSignals({ libc }: Native): () => void {
  // Hosts set close-on-exec on a terminal that they open as a stream. A duplicate does not have
  // this flag.
  for (const fd of [0, 1, 2]) {
    const copyFd = libc.dup(fd);
    if (copyFd < 0) continue;
    libc.dup2(copyFd, fd);
    libc.close(copyFd);
  }
  host.restoreStandardStreams();
  const previousActions = new Map<number, number>();
  // Hosts ignore these signals, and the new program would ignore them too. Signals with a handler
  // are reset by the system.
  for (const signal of ["SIGPIPE", "SIGXFSZ"].map((name) => host.signalNumber(name)))
    previousActions.set(signal, libc.signal(signal, 0));
  const mask = new Uint8Array(128);
  const SIG_SETMASK = host.signalNumber("SIGCHLD") === 17 ? 2 : 3; // Linux, macOS
  libc.sigprocmask(SIG_SETMASK, new Uint8Array(128), mask);
  return () => {
    for (const [signal, action] of previousActions) libc.signal(signal, action);
    libc.sigprocmask(SIG_SETMASK, mask, null);
  };
}

/**
 * Returns a null-terminated array of C strings. It is never freed: the program ends, or exec() has
 * failed, which is rare.
 */
function toCStringArray(libc: Native["libc"], texts: readonly string[]): BigUint64Array {
  return BigUint64Array.from([...texts.map((text) => BigInt(libc.strdup(text))), 0n]);
}

function checkedArgv(file: string, args: readonly string[], env: ExecOptions["env"]): string[] {
  if (typeof file !== "string" || file === "")
    throw new TypeError(`exec() takes the path or the name of a program, not ${describeValue(file)}`);
  if (!Array.isArray(args))
    throw new TypeError(`exec() takes its arguments as an array, such as ["-l"], not ${describeValue(args)}`);
  if (env !== undefined && (typeof env !== "object" || env === null || Array.isArray(env)))
    throw new TypeError(`exec() takes an object of strings as env, not ${describeValue(env)}`);
  const argv = [file, ...args];
  for (const text of [...argv, ...Object.entries(env ?? {}).flat()]) {
    if (typeof text !== "string" || text.includes("\0"))
      throw new TypeError(`exec() takes strings without zero characters, not ${describeValue(text)}`);
  }
  return argv;
}

function reasonOf(file: string, errorName: string, env: ExecOptions["env"]): string {
  if (errorName !== "ENOENT" && errorName !== "ENOTDIR")
    return `exec() cannot run "${file}": ${ERRNO_REASONS[errorName] ?? errorName}`;
  if (file.includes("/"))
    return `exec() cannot run "${file}": there is no such program, or the interpreter named by its first line does not exist`;
  const searchPath = (env === undefined ? host.env("PATH") : env.PATH) || DEFAULT_PATH;
  return `exec() found no program "${file}" in PATH (${searchPath})`;
}
