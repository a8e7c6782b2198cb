import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** A runtime that the packages are made for. */
export type Host = "node" | "deno";

/** The host that the test itself runs on. */
export const host: Host = "Deno" in globalThis ? "deno" : "node";

/** Node's flags for a program that has no way to the C library: neither koffi, which is an add-on, nor `node:ffi`. */
export const WITHOUT_NATIVE: readonly string[] =
  host === "node"
    ? [
        "--no-addons",
        ...(process.allowedNodeEnvironmentFlags.has("--experimental-ffi") ? ["--no-experimental-ffi"] : []),
      ]
    : [];

/** How {@linkcode runProgram} starts a program. */
export interface ProgramOptions {
  /** Added to this process's environment; `undefined` takes a variable away. */
  env?: Record<string, string | undefined>;
  /** Its working directory. @default that of the test */
  cwd?: string | URL;
  /** Where it runs. @default the host that the test runs on */
  host?: Host;
  /** Options of the host that stand before the program's file. On Deno they take the place of `-A`. */
  execArgv?: string[];
  /** A command with its arguments that runs the host and the program, which are appended to it. */
  wrap?: string[];
}

/** How a program ended, in `node:child_process`'s terms. */
export interface Exit {
  /** The exit code; `null` when a signal ended the program. */
  code: number | null;
  /** The name of the signal that ended the program. */
  signal: string | null;
}

/** A program under test. Leaving its `await using` block kills it. */
export interface Program extends AsyncDisposable {
  /** The process's id. */
  readonly pid: number;
  /** What it has written to standard output so far. */
  readonly stdout: string;
  /** What it has written to standard error so far. */
  readonly stderr: string;
  /** Settles when the program has ended and what it wrote has been read. */
  readonly exited: Promise<Exit>;
  /** Sends it a signal. @default "SIGTERM" */
  kill(signal?: string): void;
}

const repository = new URL("../../../", import.meta.url);

/** Starts a program in a process of its own. */
export function runProgram(file: string | URL, args: string[] = [], options: ProgramOptions = {}): Program {
  const path = String(file).startsWith("file:") ? fileURLToPath(file) : String(file);
  const { command, hostArgs } = hostCommand(options.host ?? host, options.execArgv);
  const [first, ...rest] = [...(options.wrap ?? []), command, ...hostArgs, path, ...args];
  const child = spawn(first as string, rest, {
    cwd: options.cwd,
    // Colours would only stand between the text and the test that looks for it.
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
      // A child that outlives the program holds its pipes open. What was written before the end is read well before this.
      const drainTimer = setTimeout(() => resolve({ code, signal }), 100);
      for (const stream of [child.stdout, child.stderr]) stream.on("data", () => drainTimer.refresh());
    });
  });
  // A test that only kills the program does not look at its end.
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
