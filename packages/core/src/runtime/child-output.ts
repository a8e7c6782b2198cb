/** What children write to their standard streams, in their parent. */

import type { ByteSource, Stdio } from "../host/host.ts";
import { host } from "../host/mod.ts";
import { afterForkInChild } from "./at-fork.ts";

/**
 * Gets what a child writes to a standard stream, as it comes, in place of a `ReadableStream`; also what it writes when it
 * cannot be started. When this program ends, it is given first what has arrived, and its end (on Deno, not what arrives while
 * `Deno.exit()` is called).
 *
 * @example What a child prints, as it comes
 * ```ts
 * import { inline, type OutputReader } from "@multiproc/core";
 * import { Process } from "@multiproc/process";
 *
 * let text = "";
 * const decoder = new TextDecoder();
 * const reader: OutputReader = {
 *   data: (bytes) => void (text += decoder.decode(bytes, { stream: true })),
 *   end: () => console.log(text.trim()), // hello
 * };
 * const child = new Process({ target: inline(() => console.log("hello")), stdio: { stdout: reader } });
 * await child.start();
 * await child.join();
 * ```
 */
export interface OutputReader {
  /**
   * Called first.
   *
   * @param flowControl pauses the child when it writes faster than the reader can process
   */
  start?(flowControl: { pause(): void; resume(): void }): void;
  /**
   * Called with bytes as they come.
   *
   * @param bytes which the reader may keep
   */
  data(bytes: Uint8Array): void;
  /** Called once and last: nobody has the stream any more. */
  end(): void;
}

/** Where a standard stream of a child leads. */
export type ChildOutput = Stdio | OutputReader;

interface OpenOutput {
  readonly source: ByteSource;
  readonly reader: OutputReader;
}

const openOutputs: Set<OpenOutput> = new Set();
/** How often anything has come, and how often when the program last had nothing to do. */
let chunkCount = 0;
let chunkCountAtIdle = -1;
let isDrainScheduled = false;
afterForkInChild(() => openOutputs.clear()); // they are the parent's

/** What a child's stream has to be for this. */
export function toStdio(output: ChildOutput = "inherit"): Stdio {
  return typeof output === "string" ? output : "pipe";
}

/** Has what a child writes go where it shall; what is left for the child's parent to read is the result. */
export function routeOutput(
  source: ByteSource | null | undefined,
  output: ChildOutput | undefined,
): ReadableStream<Uint8Array> | null {
  if (source == null) return null;
  if (typeof output !== "object") return webStream(source);
  readOutput(source, output);
  return null;
}

function readOutput(source: ByteSource, reader: OutputReader): void {
  const output = { source, reader };
  drainAtExit(source);
  openOutputs.add(output);
  reader.start?.(source);
  source.start({
    data: (bytes) => {
      chunkCount++;
      reader.data(bytes);
    },
    end: () => finish(output),
    drain: () => {},
  });
}

function finish(output: OpenOutput): void {
  if (openOutputs.delete(output)) output.reader.end();
}

/** What children wrote before this program ends is not lost, though the program does not stay alive for it. */
function drainAtExit({ readNow }: ByteSource): void {
  if (isDrainScheduled) return;
  isDrainScheduled = true;
  if (readNow === undefined) host.onIdle(keepReading);
  host.onExit(() => {
    for (const output of [...openOutputs]) {
      output.source.readNow?.();
      finish(output);
    }
  });
}

/** Where reading takes waiting: goes on until nothing has come for a moment. */
function keepReading(): boolean {
  if (openOutputs.size === 0 || chunkCount === chunkCountAtIdle) return false;
  chunkCountAtIdle = chunkCount;
  host.timer(() => {}, 1, true);
  return true;
}

function webStream(source: ByteSource): ReadableStream<Uint8Array> {
  let isEnded = false;
  return new ReadableStream<Uint8Array>({
    start(controller) {
      source.start({
        data: (bytes) => {
          if (isEnded) return;
          controller.enqueue(bytes);
          if ((controller.desiredSize ?? 0) <= 0) source.pause();
        },
        end: () => {
          if (!isEnded) controller.close();
          isEnded = true;
        },
        drain: () => {},
      });
    },
    pull: () => source.resume(),
    cancel: () => {
      isEnded = true;
      source.destroy();
    },
  });
}
