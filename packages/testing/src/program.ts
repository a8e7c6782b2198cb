/** Programs under test: processes that a test starts, and whose output and end it checks. */
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** A supported runtime. */
export type Host = "node" | "deno";

/** The host that the test runs on. */
export const host: Host = "Deno" in globalThis ? "deno" : "node";

/** Flags of Node that disable calls of the C library, by koffi (an add-on) and by `node:ffi`. */
export const WITHOUT_NATIVE: readonly string[] =
  host === "node"
    ? [
        "--no-addons",
        ...(process.allowedNodeEnvironmentFlags.has("--experimental-ffi") ? ["--no-experimental-ffi"] : []),
      ]
    : [];

/** The options of {@linkcode runProgram}. */
export interface ProgramOptions {
  /** Changes to the environment; `undefined` removes a variable. */
  env?: Record<string, string | undefined>;
  /** The working directory. @default that of the test */
  cwd?: string | URL;
  /** The host of the program. @default the host of the test */
  host?: Host;
  /** Options of the host, before the file of the program. On Deno they replace `-A`. */
  execArgv?: string[];
  /**
   * A command with its arguments that runs the host; the command line of the program is appended.
   */
  wrap?: string[];
}

/** The end of a program, in the terms of `node:child_process`. */
export interface Exit {
  /** The exit code; `null` if a signal ended the program. */
  code: number | null;
  /** The name of the signal that ended the program, if one did. */
  signal: string | null;
}

/** A program under test. `await using` kills it at the end of the block. */
export interface Program extends AsyncDisposable {
  /** The pid of the program. */
  readonly pid: number;
  /** The standard output so far. */
  readonly stdout: string;
  /** The standard error so far. */
  readonly stderr: string;
  /** Resolves when the program has ended and its output was read. */
  readonly exited: Promise<Exit>;
  /** Sends a signal. @default "SIGTERM" */
  kill(signal?: string): void;
}

/** The time without output after which the output of a program that has ended counts as read. */
const DRAIN_MS = 100;

const repository = new URL("../../../", import.meta.url);

/** Starts a program in a new process. */
export function runProgram(file: string | URL, args: string[] = [], options: ProgramOptions = {}): Program {
  const path = String(file).startsWith("file:") ? fileURLToPath(file) : String(file);
  const { command, hostArgs } = hostCommand(options.host ?? host, options.execArgv);
  const [first, ...rest] = [...(options.wrap ?? []), command, ...hostArgs, path, ...args];
  const child = spawn(first as string, rest, {
    cwd: options.cwd,
    // Escape codes of colours would break up the text that tests search for.
    env: { ...process.env, FORCE_COLOR: undefined, NO_COLOR: "1", ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });

  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => void (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => void (stderr += text));
  const exited = new Promise<Exit>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal }));
    child.on("exit", (code, signal) => {
      // A child that outlives the program keeps its pipes open, so "close" may never come.
      const drainTimer = setTimeout(() => resolve({ code, signal }), DRAIN_MS);
      for (const stream of [child.stdout, child.stderr]) stream.on("data", () => drainTimer.refresh());
    });
  });
  // A test that only kills the program does not await its end.
  exited.catch(() => {});

  return {
    pid: child.pid ?? Number.NaN,
    get stdout() {
      return stdout;
    },
    get stderr() {
      return stderr;
    },
    exited,
    kill: (signal = "SIGTERM") => void child.kill(signal as NodeJS.Signals),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited.catch(() => {});
    },
  };
}

function hostCommand(targetHost: Host, execArgv: string[] | undefined): { command: string; hostArgs: string[] } {
  if (targetHost === "node") {
    return { command: host === "node" ? process.execPath : "node", hostArgs: execArgv ?? [] };
  }
  const command = host === "deno" ? process.execPath : fileURLToPath(new URL("node_modules/.bin/deno", repository));
  const config = fileURLToPath(new URL("deno.json", repository));
  return {
    command,
    hostArgs: ["run", "--quiet", "--no-check", "--no-prompt", "--config", config, ...(execArgv ?? ["-A"])],
  };
}
