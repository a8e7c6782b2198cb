/** Subprocesses over Deno's own API. */
import type { DenoApi, DenoChild } from "./deno-api.ts";
import { DenoSource } from "./deno-stream.ts";
import type { ByteSource, ExitStatus, SpawnOptions, Stdio, Subprocess } from "./host.ts";

/** Starts a program; throws if it cannot be started. */
export function startSubprocess(deno: DenoApi, file: string, options: SpawnOptions): Subprocess {
  const command = new deno.Command(file, {
    args: [...options.args],
    ...(options.env === undefined ? {} : { env: { ...options.env } }),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdin: options.stdin === "write" ? "piped" : "null",
    stdout: stdio(options.stdout),
    stderr: stdio(options.stderr),
    ...(options.detached === true ? { detached: true } : {}),
  });
  return new DenoSubprocess(command.spawn(), options);
}

function stdio(kind: Stdio | undefined): "inherit" | "piped" | "null" {
  return kind === "pipe" ? "piped" : kind === "ignore" ? "null" : "inherit";
}

class DenoSubprocess implements Subprocess {
  readonly pid: number;
  readonly exited: Promise<ExitStatus>;
  readonly stdout: ByteSource | null;
  readonly stderr: ByteSource | null;
  readonly #child: DenoChild;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #isRunning = true;

  constructor(child: DenoChild, options: SpawnOptions) {
    this.#child = child;
    this.pid = child.pid;
    this.stdout = options.stdout === "pipe" ? new DenoSource(child.stdout) : null;
    this.stderr = options.stderr === "pipe" ? new DenoSource(child.stderr) : null;
    this.#stdin = options.stdin === "write" ? child.stdin.getWriter() : undefined;
    this.#stdin?.closed.catch(() => {});
    this.exited = child.status.then(
      ({ code, signal }) => (signal === null ? { code, signal } : { code: null, signal }),
      // Deno has no names for real-time signals, and rejects.
      (error: Error) => ({ code: null, signal: /Invalid signal: (\d+)/.exec(error.message)?.[1] ?? "SIGKILL" }),
    );
    this.exited.then(() => {
      this.#isRunning = false;
    });
  }

  async write(text: string): Promise<void> {
    await this.#stdin?.write(new TextEncoder().encode(text)).catch(() => {});
  }

  kill(signal: string): void {
    this.#ifRunning(() => this.#child.kill(signal as never));
  }

  ref(): void {
    this.#ifRunning(() => this.#child.ref());
  }

  unref(): void {
    this.#ifRunning(() => this.#child.unref());
  }

  #ifRunning(run: () => void): void {
    if (!this.#isRunning) return;
    try {
      run();
    } catch (error) {
      // The process has ended, and `exited` settles soon.
      const hasExited = error instanceof TypeError || (error as Error).name === "BadResource";
      if (!hasExited) throw error;
    }
  }
}
