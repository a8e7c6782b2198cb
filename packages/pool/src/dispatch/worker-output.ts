/**
 * What workers write to their standard streams. Lines are whole: those of several workers never mix.
 *
 * Unless it is told otherwise, a pool leaves standard output alone and reads standard error, to pass it on as it is and to know
 * what a worker wrote last.
 */
import type { ChildOutput, OutputReader } from "@multiproc/core";
import { host } from "@multiproc/core/internal";
import type { OutputLine, PoolOutput } from "../options.ts";

type StreamName = OutputLine["stream"];
type FlowControl = Parameters<NonNullable<OutputReader["start"]>>[0];

const NEWLINE = 10;
/** A line that is longer goes on in pieces, in bytes: somebody may write without end. */
const MAX_LINE_BYTES = 1024 * 1024;
/** How long a line that has no end is kept, in milliseconds, where it goes on as it is: it may be a question, or a progress bar. */
const PARTIAL_LINE_FLUSH_MS = 100;
/** How much of what was written last is kept, in bytes. */
const STDERR_TAIL_BYTES = 4096;
/** How long the streams of a worker that is gone are listened to with nothing coming, in milliseconds: something that it has started may keep them. */
const STREAM_IDLE_MS = 100;

/** What one worker writes. */
export class WorkerOutput {
  readonly stdout: ChildOutput;
  readonly stderr: ChildOutput;
  readonly #worker: string;
  readonly #pid: () => number;
  readonly #tail = new TailBuffer();
  #openStreamCount = 0;
  /** Hears of what comes, and of the end. */
  #onActivity: (isOver: boolean) => void = () => {};

  /**
   * @param worker the worker's name
   * @param pid tells its process id
   * @param way what becomes of it; undefined is the default
   */
  constructor(worker: string, pid: () => number, mode: PoolOutput | undefined) {
    this.#worker = worker;
    this.#pid = pid;
    this.stdout = mode === undefined || mode === "inherit" ? "inherit" : this.#reader("stdout", mode);
    this.stderr = mode === "inherit" ? "inherit" : this.#reader("stderr", mode);
  }

  /** The last of what it wrote to standard error, as far as that is known. */
  get stderrTail(): string {
    return this.#tail.text;
  }

  /** Waits until all that the worker, which is gone, has written is here. */
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

/** Writes to a standard stream of this process; who writes faster than that is held up. */
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

/** Lets whole lines through. */
class LineBuffer {
  readonly #sink: (lines: Uint8Array) => void;
  readonly #flushAfterMs: number | undefined;
  #pieces: Uint8Array[] = [];
  #size = 0;
  #cancelTimer: (() => void) | undefined;

  /** @param patience how long a line without an end is kept, in milliseconds; undefined is until it ends */
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

  /** Lets through what there is. */
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

/** Keeps the end of what is added. */
class TailBuffer {
  #pieces: Uint8Array[] = [];
  #size = 0;

  add(bytes: Uint8Array): void {
    // A copy: a piece may be a small part of a large buffer. One byte more than is told shows whether something is missing.
    const piece = bytes.slice(-STDERR_TAIL_BYTES - 1);
    this.#pieces.push(piece);
    this.#size += piece.length;
    for (let first = this.#pieces[0]; first !== undefined; first = this.#pieces[0]) {
      if (this.#size - first.length <= STDERR_TAIL_BYTES) break;
      this.#size -= first.length;
      this.#pieces.shift();
    }
  }

  /** As text; where something is missing before it, it begins with a whole line if it can. */
  get text(): string {
    const bytes = concatBytes(this.#pieces, this.#size);
    const from = Math.max(0, bytes.length - STDERR_TAIL_BYTES);
    const line = from === 0 ? 0 : bytes.indexOf(NEWLINE, from - 1) + 1;
    return host.utf8Read(bytes, line < bytes.length && line > 0 ? line : from, bytes.length).trimEnd();
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

/** Lines without their ends. */
function* splitLines(lines: Uint8Array): Generator<Uint8Array> {
  for (let from = 0; from < lines.length; ) {
    const end = lines.indexOf(NEWLINE, from);
    const to = end < 0 ? lines.length : end;
    yield lines.subarray(from, to);
    from = to + 1;
  }
}

/** The same lines, each behind the label; all of them have an end. */
function withPrefix(lines: Uint8Array, linePrefix: string): Uint8Array {
  const prefix = new TextEncoder().encode(linePrefix);
  const end = Uint8Array.of(NEWLINE);
  const pieces = [...splitLines(lines)].flatMap((line) => [prefix, line, end]);
  return concatBytes(
    pieces,
    pieces.reduce((size, piece) => size + piece.length, 0),
  );
}

/** What a user's function throws is reported as what any listener throws, and keeps nobody from reading on. */
function callListener(listener: (line: OutputLine) => void, line: OutputLine): void {
  try {
    listener(line);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
