/**
 * Forwards the output of workers in whole lines, so that lines of several workers never mix.
 *
 * By default, a pool leaves standard output alone. It reads standard error to forward it unchanged,
 * and keeps the end of it for `WorkerLostError.stderr`. Back-pressure: if the program's own stream
 * is full, the pool stops reading, and the worker blocks.
 */
import type { ChildOutput, OutputReader } from "@multiproc/core";
import { host } from "@multiproc/core/internal";
import type { OutputLine, PoolOutput } from "../options.ts";

type StreamName = OutputLine["stream"];
type FlowControl = Parameters<NonNullable<OutputReader["start"]>>[0];

const NEWLINE = 10;
/** A longer line is forwarded in pieces: a worker may write without a line end forever. */
const MAX_LINE_BYTES = 1024 * 1024;
/**
 * How long a partial line is held back in the default mode. It may be a prompt or a progress bar.
 */
const PARTIAL_LINE_FLUSH_MS = 100;
/** How much of the end of standard error is kept. */
const STDERR_TAIL_BYTES = 4096;
/**
 * The streams of an ended worker are read until no data has arrived for this time. A program that
 * the worker started may keep them open.
 */
const STREAM_IDLE_MS = 100;

/** The output of one worker. */
export class WorkerOutput {
  readonly stdout: ChildOutput;
  readonly stderr: ChildOutput;
  readonly #worker: string;
  readonly #pid: () => number;
  readonly #tail = new TailBuffer();
  #openStreamCount = 0;
  /** Called for data, and at the end of all streams. */
  #onActivity: (isOver: boolean) => void = () => {};

  /**
   * @param worker the name of the worker
   * @param pid returns its process id
   * @param mode where the output goes; undefined is the default
   */
  constructor(worker: string, pid: () => number, mode: PoolOutput | undefined) {
    this.#worker = worker;
    this.#pid = pid;
    this.stdout = mode === undefined || mode === "inherit" ? "inherit" : this.#reader("stdout", mode);
    this.stderr = mode === "inherit" ? "inherit" : this.#reader("stderr", mode);
  }

  /** The end of its standard error, if the pool reads it. */
  get stderrTail(): string {
    return this.#tail.text;
  }

  /** Waits until all output of an ended worker has arrived. */
  async drained(): Promise<void> {
    if (this.#openStreamCount === 0) return;
    let cancel = (): void => {};
    await new Promise<void>((resolve) => {
      const restartTimer = (): void => {
        cancel();
        cancel = host.timer(resolve, STREAM_IDLE_MS, true);
      };
      this.#onActivity = (isOver) => (isOver ? resolve() : restartTimer());
      restartTimer();
    });
    cancel();
  }

  #reader(name: StreamName, mode: Exclude<PoolOutput, "inherit"> | undefined): OutputReader {
    const writer = new StdioWriter(name);
    const lines = new LineBuffer(
      this.#sink(name, mode, writer),
      mode === undefined ? PARTIAL_LINE_FLUSH_MS : undefined,
    );
    return {
      start: (flowControl) => {
        this.#openStreamCount++;
        writer.flowControl = flowControl;
      },
      data: (bytes) => {
        if (name === "stderr") this.#tail.add(bytes);
        lines.add(bytes);
        this.#onActivity(false);
      },
      end: () => {
        lines.flush();
        if (--this.#openStreamCount === 0) this.#onActivity(true);
      },
    };
  }

  #sink(
    name: StreamName,
    mode: Exclude<PoolOutput, "inherit"> | undefined,
    writer: StdioWriter,
  ): (lines: Uint8Array) => void {
    const worker = this.#worker;
    if (mode === undefined) return (lines) => writer.write(lines);
    if (mode === "prefix") return (lines) => writer.write(withPrefix(lines, `[${worker}] `));
    return (lines) => {
      for (const line of splitLines(lines)) {
        const text = host.utf8Read(line, 0, line.length);
        callListener(mode, {
          worker,
          pid: this.#pid(),
          stream: name,
          text: text.endsWith("\r") ? text.slice(0, -1) : text,
        });
      }
    };
  }
}

/** A writer to a standard stream of this process, with back-pressure on the worker. */
class StdioWriter {
  flowControl: FlowControl | undefined;
  readonly #name: StreamName;
  #isFull = false;

  constructor(name: StreamName) {
    this.#name = name;
  }

  write(bytes: Uint8Array): void {
    const drained = host.writeOutput(this.#name, bytes);
    if (drained === undefined || this.#isFull) return;
    this.#isFull = true;
    this.flowControl?.pause();
    void drained.then(() => {
      this.#isFull = false;
      this.flowControl?.resume();
    });
  }
}

/** A buffer that holds a partial line back until its end arrives. */
class LineBuffer {
  readonly #sink: (lines: Uint8Array) => void;
  readonly #flushAfterMs: number | undefined;
  #pieces: Uint8Array[] = [];
  #size = 0;
  #cancelTimer: (() => void) | undefined;

  /**
   * @param flushAfterMs how long a partial line is held back, in milliseconds; undefined means
   * until its end
   */
  constructor(sink: (lines: Uint8Array) => void, flushAfterMs: number | undefined) {
    this.#sink = sink;
    this.#flushAfterMs = flushAfterMs;
  }

  add(bytes: Uint8Array): void {
    const end = bytes.lastIndexOf(NEWLINE) + 1;
    if (end > 0) {
      this.#append(bytes.subarray(0, end));
      this.flush();
    }
    if (end === bytes.length) return;
    this.#append(bytes.subarray(end));
    if (this.#size > MAX_LINE_BYTES) this.flush();
    else if (this.#flushAfterMs !== undefined)
      this.#cancelTimer ??= host.timer(() => this.flush(), this.#flushAfterMs, false);
  }

  /** Forwards the buffered bytes. */
  flush(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    if (this.#size === 0) return;
    const lines = concatBytes(this.#pieces, this.#size);
    this.#pieces = [];
    this.#size = 0;
    this.#sink(lines);
  }

  #append(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
    this.#size += bytes.length;
  }
}

/** A buffer of the last bytes of a stream. */
class TailBuffer {
  #pieces: Uint8Array[] = [];
  #size = 0;

  add(bytes: Uint8Array): void {
    // Copied, because a small piece would keep the whole buffer of its bytes in memory. One byte
    // more than the tail shows whether earlier bytes were dropped.
    const piece = bytes.slice(-STDERR_TAIL_BYTES - 1);
    this.#pieces.push(piece);
    this.#size += piece.length;
    for (let first = this.#pieces[0]; first !== undefined; first = this.#pieces[0]) {
      if (this.#size - first.length <= STDERR_TAIL_BYTES) break;
      this.#size -= first.length;
      this.#pieces.shift();
    }
  }

  /**
   * The last bytes as text. If earlier bytes were dropped, the text starts at the first whole line,
   * or with the first byte if no line starts in it.
   */
  get text(): string {
    const bytes = concatBytes(this.#pieces, this.#size);
    const from = Math.max(0, bytes.length - STDERR_TAIL_BYTES);
    const lineStart = from === 0 ? 0 : bytes.indexOf(NEWLINE, from - 1) + 1;
    return host.utf8Read(bytes, lineStart < bytes.length && lineStart > 0 ? lineStart : from, bytes.length).trimEnd();
  }
}

function concatBytes(pieces: readonly Uint8Array[], size: number): Uint8Array {
  if (pieces.length === 1) return pieces[0] as Uint8Array;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** Yields the lines without their ends. */
function* splitLines(lines: Uint8Array): Generator<Uint8Array> {
  for (let from = 0; from < lines.length; ) {
    const end = lines.indexOf(NEWLINE, from);
    const to = end < 0 ? lines.length : end;
    yield lines.subarray(from, to);
    from = to + 1;
  }
}

/** Returns the lines with a prefix, each with a line end. */
function withPrefix(lines: Uint8Array, linePrefix: string): Uint8Array {
  const prefix = new TextEncoder().encode(linePrefix);
  const end = Uint8Array.of(NEWLINE);
  const pieces = [...splitLines(lines)].flatMap((line) => [prefix, line, end]);
  return concatBytes(
    pieces,
    pieces.reduce((size, piece) => size + piece.length, 0),
  );
}

/**
 * Calls the function of a user. An error that it throws is an uncaught error, and does not stop the
 * reading.
 */
function callListener(listener: (line: OutputLine) => void, line: OutputLine): void {
  try {
    listener(line);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
