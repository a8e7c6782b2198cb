/** The system call that puts another program in the place of this one. */
import { StartError } from "@multiproc/core";
import { flushNow, host, type Native, native, whyNoNative } from "@multiproc/core/internal";
import { StartMethodError } from "./start-method.ts";

/**
 * How a program takes the place of this one.
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
  /** Its whole environment, as with the system call. @default that of this process */
  readonly env?: Readonly<Record<string, string>> | undefined;
}

/** Where the system looks for programs if nobody says. */
const DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin";
const EACCES = 13;
/** With these, the program may be in the next folder. */
const KEEP_SEARCHING_ERRORS = new Set(["ENOENT", "ENOTDIR", "EACCES"]);
/** Alike on Linux and macOS. */
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
  ETXTBSY: "somebody is writing to it",
  ENOMEM: "there is too little memory",
};

/**
 * Puts another program in the place of this one, as the system call does: same process, same pid. It does not return.
 *
 * Standard input, output and error stay open; other files that this program opened are closed. Signals are handled by
 * default again. `exit` listeners do not run. Processes that this library started end as they do when their parent ends, and so
 * does what this program kept in queues and pipes. Where a `Process` is replaced, its parent's `join()` gives the exit code of the
 * new program, which does not outlive that parent either.
 *
 * @param file its path, or its name if it has no slash: then it is looked for in `PATH`
 * @param args its arguments, after its name
 * @param options its environment
 * @throws {StartError} if there is no such program, or it cannot be executed
 * @throws {StartMethodError} if this process has no way to the system call, or output is still to be written
 * @throws {TypeError} for arguments that are no strings, or hold a zero
 *
 * @example A child that becomes another program
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
  const argv = checkedArgv(file, args, options.env);
  const nativeApi = native();
  if (nativeApi === undefined) {
    throw new StartMethodError(`exec() has no way to the system call: ${whyNoNative()?.message}`, {
      cause: whyNoNative()?.cause,
    });
  }
  const pendingBytes = host.pendingOutput();
  if (pendingBytes > 0) {
    throw new StartMethodError(
      `exec() would lose ${pendingBytes} bytes that nobody has read yet: wait for the callback of process.stdout.write() before`,
    );
  }
  flushNow();
  const restore = resetStdioAndSignals(nativeApi);
  const errorName = execFirstFound(nativeApi, file, argv, options.env);
  restore();
  throw new StartError(reasonOf(file, errorName, options.env));
}

/** Tries the places where the program may be; what is returned is why there is none. */
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
    // One that is there and may not be executed is worth telling of.
    if (name === "EACCES" || errorName !== "EACCES") errorName = name;
  }
  return errorName;
}

function candidatePaths(file: string, env: ExecOptions["env"]): string[] {
  if (file.includes("/")) return [file];
  const searchPath = (env === undefined ? host.env("PATH") : env.PATH) || DEFAULT_PATH;
  return searchPath.split(":").map((folder) => (folder === "" ? file : `${folder}/${file}`));
}

/** Leaves standard streams and signals as a program expects to find them; what is returned takes that back. */
function resetStdioAndSignals({ libc }: Native): () => void {
  // What is put in its own place again stays open: terminals are marked to be closed, once they have been opened as streams.
  for (const fd of [0, 1, 2]) {
    const copyFd = libc.dup(fd);
    if (copyFd < 0) continue;
    libc.dup2(copyFd, fd);
    libc.close(copyFd);
  }
  host.restoreStandardStreams();
  const previousActions = new Map<number, number>();
  // Hosts ignore these, and a program that is started so would too. What is handled is reset by the system.
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

/** A list of strings as C has them. It is never freed: this program ends, or has made a mistake that it makes but once. */
function toCStringArray(libc: Native["libc"], texts: readonly string[]): BigUint64Array {
  return BigUint64Array.from([...texts.map((text) => BigInt(libc.strdup(text))), 0n]);
}

function checkedArgv(file: string, args: readonly string[], env: ExecOptions["env"]): string[] {
  if (typeof file !== "string" || file === "")
    throw new TypeError(`exec() takes the path or the name of a program, not ${JSON.stringify(file)}`);
  if (!Array.isArray(args)) throw new TypeError(`exec() takes the arguments as an array, not ${typeof args}`);
  const argv = [file, ...args];
  for (const text of [...argv, ...Object.entries(env ?? {}).flat()]) {
    if (typeof text !== "string" || text.includes("\0"))
      throw new TypeError(`exec() takes strings without zeros, not ${JSON.stringify(text)}`);
  }
  return argv;
}

function reasonOf(file: string, errorName: string, env: ExecOptions["env"]): string {
  if (errorName !== "ENOENT" && errorName !== "ENOTDIR")
    return `exec() cannot run "${file}": ${ERRNO_REASONS[errorName] ?? errorName}`;
  if (file.includes("/"))
    return `exec() cannot run "${file}": there is no such program, or not the interpreter that its first line names`;
  const searchPath = (env === undefined ? host.env("PATH") : env.PATH) || DEFAULT_PATH;
  return `exec() found no program "${file}" in PATH (${searchPath})`;
}
