/** Subprocesses over `node:child_process`. */
import type * as ChildProcess from "node:child_process";
import type * as Net from "node:net";
import type { ByteSource, ExitStatus, Subprocess } from "./host.ts";
import { NodeStream, trackHandle } from "./node-stream.ts";

/** A child that `spawn()` of Node has started. */
export class NodeSubprocess implements Subprocess {
  readonly pid: number;
  readonly exited: Promise<ExitStatus>;
  readonly stdout: ByteSource | null;
  readonly stderr: ByteSource | null;
  readonly #child: ChildProcess.ChildProcess;

  constructor(child: ChildProcess.ChildProcess) {
    this.#child = child;
    this.pid = child.pid as number;
    this.exited = new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
    this.stdout = toByteSource(child.stdout);
    this.stderr = toByteSource(child.stderr);
    child.on("error", () => {}); // a signal that could not be sent
    if (child.stdin !== null) {
      trackHandle(child.stdin);
      child.stdin.on("error", () => {});
      (child.stdin as Net.Socket).unref?.();
    }
  }

  write(text: string): Promise<void> {
    return new Promise((resolve) => this.#child.stdin?.write(text, () => resolve()));
  }

  kill(signal: string): void {
    this.#child.kill(signal as NodeJS.Signals);
  }

  ref(): void {
    this.#child.ref();
    for (const output of [this.stdout, this.stderr]) output?.ref();
  }

  unref(): void {
    this.#child.unref();
    for (const output of [this.stdout, this.stderr]) output?.unref();
  }
}

/** The output of a child, whose pipes are sockets in Node. */
function toByteSource(stream: object | null): ByteSource | null {
  return stream === null ? null : new NodeStream(stream as Net.Socket);
}
