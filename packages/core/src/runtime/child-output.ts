/** Routes the standard output and error of a child to a reader or a web stream of its parent. */

import type { ByteSource, Stdio } from "../host/host.ts";
import { host } from "../host/mod.ts";
import { afterForkInChild } from "./at-fork.ts";

/**
 * Callbacks that receive the output of a child as it arrives, instead of a `ReadableStream`. They
 * also receive the output of a child that fails to start. When this program exits, `data()` first
 * receives the output that has arrived, and then `end()` is called. On Deno, output that arrives
 * during `Deno.exit()` is lost.
 *
 * @example Read the output of a child as it arrives
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
   * @param flowControl pauses and resumes reading. While it is paused, a child that fills its pipe
   * blocks.
   */
  start?(flowControl: { pause(): void; resume(): void }): void;
  /**
   * Called for each chunk of output.
   *
   * @param bytes the chunk. The reader may keep it.
   */
  data(bytes: Uint8Array): void;
  /** Called once and last, when no process has the stream open any more. */
  end(): void;
}

/** The destination of a standard stream of a child. */
export type ChildOutput = Stdio | OutputReader;

interface OpenOutput {
  readonly source: ByteSource;
  readonly reader: OutputReader;
}

const openOutputs: Set<OpenOutput> = new Set();
/** Chunks that have arrived. */
let chunkCount = 0;
/** The value of `chunkCount` when the event loop was last idle. */
let chunkCountAtIdle = -1;
let isDrainScheduled = false;
afterForkInChild(() => openOutputs.clear()); // they belong to the parent

/** Returns the kind of stream that a child needs for an output. */
export function toStdio(output: ChildOutput = "inherit"): Stdio {
  return typeof output === "string" ? output : "pipe";
}

/**
 * Connects the output of a child with its destination.
 *
 * @returns a web stream if `output` is not an `OutputReader`; `null` otherwise, or without a source
 */
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

/**
 * Makes this program deliver the output that its children have written before it exits. Children
 * that are silent do not delay the exit.
 */
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

/**
 * Keeps the program alive for another millisecond if a chunk has arrived since the last idle event
 * loop. Only hosts that cannot read synchronously need it.
 */
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
