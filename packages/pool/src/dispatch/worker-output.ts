/**
 * What workers write to their standard streams. Lines are whole: those of several workers never mix.
 *
 * Unless it is told otherwise, a pool leaves standard output alone and reads standard error, to pass it on as it is and to know
 * what a worker wrote last.
 */
import type { ChildOutput, OutputReader } from "@multiproc/core";
import { host } from "@multiproc/core/internal";

/**
 * A line that a worker has written.
 *
 * @example Lines of workers, as the program wants them
 * ```ts
 * import { inline } from "@multiproc/core";
 * import { type OutputLine, Pool } from "@multiproc/pool";
 *
 * const lines: string[] = [];
 * const output = ({ worker, text }: OutputLine) => void lines.push(`${worker}: ${text}`);
 * const pool = new Pool({ processes: 1, output });
 * await pool.apply(inline(() => console.log("hello")));
 * await pool.terminate();
 * console.log(lines.join()); // PoolWorker-1: hello
 * ```
 */
export interface OutputLine {
  /** The worker's name. */
  readonly worker: string;
  /** Its process id; 0 as long as it is being started. */
  readonly pid: number;
  /** Where it was written to. */
  readonly stream: "stdout" | "stderr";
  /** The line, without its end. */
  readonly text: string;
}

/** What becomes of what workers write; see {@link PoolOptions.output}. */
export type PoolOutput = "inherit" | "label" | ((line: OutputLine) => void);

type Name = OutputLine["stream"];
type Flow = Parameters<NonNullable<OutputReader["begin"]>>[0];

const NEWLINE = 10;
/** A line that is longer goes on in pieces, in bytes: somebody may write without end. */
const LONGEST_LINE = 1024 * 1024;
/** How long a line that has no end is kept, in milliseconds, where it goes on as it is: it may be a question, or a progress bar. */
const PATIENCE = 100;
/** How much of what was written last is kept, in bytes. */
const LAST_WORDS = 4096;
/** How long the streams of a worker that is gone are listened to with nothing coming, in milliseconds: something that it has started may keep them. */
const QUIET = 100;

/** What one worker writes. */
export class WorkerOutput {
  readonly stdout: ChildOutput;
  readonly stderr: ChildOutput;
  readonly #worker: string;
  readonly #pid: () => number;
  readonly #tail = new Tail();
  #open = 0;
  /** Hears of what comes, and of the end. */
  #heard: (isOver: boolean) => void = () => {};

  /**
   * @param worker the worker's name
   * @param pid tells its process id
   * @param way what becomes of it; undefined is the default
   */
  constructor(worker: string, pid: () => number, way: PoolOutput | undefined) {
    this.#worker = worker;
    this.#pid = pid;
    this.stdout = way === undefined || way === "inherit" ? "inherit" : this.#reader("stdout", way);
    this.stderr = way === "inherit" ? "inherit" : this.#reader("stderr", way);
  }

  /** The last of what it wrote to standard error, as far as that is known. */
  get lastWords(): string {
    return this.#tail.text;
  }

  /** Waits until all that the worker, which is gone, has written is here. */
  async over(): Promise<void> {
    if (this.#open === 0) return;
    let cancel = (): void => {};
    await new Promise<void>((resolve) => {
      const wait = (): void => {
        cancel();
        cancel = host.timer(resolve, QUIET, true);
      };
      this.#heard = (isOver) => (isOver ? resolve() : wait());
      wait();
    });
    cancel();
  }

  #reader(name: Name, way: Exclude<PoolOutput, "inherit"> | undefined): OutputReader {
    const outlet = new Outlet(name);
    const lines = new Lines(this.#sink(name, way, outlet), way === undefined ? PATIENCE : undefined);
    return {
      begin: (flow) => {
        this.#open++;
        outlet.flow = flow;
      },
      data: (bytes) => {
        if (name === "stderr") this.#tail.add(bytes);
        lines.add(bytes);
        this.#heard(false);
      },
      end: () => {
        lines.flush();
        if (--this.#open === 0) this.#heard(true);
      },
    };
  }

  #sink(name: Name, way: Exclude<PoolOutput, "inherit"> | undefined, outlet: Outlet): (lines: Uint8Array) => void {
    const worker = this.#worker;
    if (way === undefined) return (lines) => outlet.write(lines);
    if (way === "label") return (lines) => outlet.write(labelled(lines, `[${worker}] `));
    return (lines) => {
      for (const line of split(lines)) {
        const text = host.utf8Read(line, 0, line.length);
        tell(way, { worker, pid: this.#pid(), stream: name, text: text.endsWith("\r") ? text.slice(0, -1) : text });
      }
    };
  }
}

/** Writes to a standard stream of this process; who writes faster than that is held up. */
class Outlet {
  flow: Flow | undefined;
  readonly #name: Name;
  #isFull = false;

  constructor(name: Name) {
    this.#name = name;
  }

  write(bytes: Uint8Array): void {
    const room = host.writeOutput(this.#name, bytes);
    if (room === undefined || this.#isFull) return;
    this.#isFull = true;
    this.flow?.pause();
    void room.then(() => {
      this.#isFull = false;
      this.flow?.resume();
    });
  }
}

/** Lets whole lines through. */
class Lines {
  readonly #sink: (lines: Uint8Array) => void;
  readonly #patience: number | undefined;
  #rest: Uint8Array[] = [];
  #size = 0;
  #cancel: (() => void) | undefined;

  /** @param patience how long a line without an end is kept, in milliseconds; undefined is until it ends */
  constructor(sink: (lines: Uint8Array) => void, patience: number | undefined) {
    this.#sink = sink;
    this.#patience = patience;
  }

  add(bytes: Uint8Array): void {
    const end = bytes.lastIndexOf(NEWLINE) + 1;
    if (end > 0) {
      this.#keep(bytes.subarray(0, end));
      this.flush();
    }
    if (end === bytes.length) return;
    this.#keep(bytes.subarray(end));
    if (this.#size > LONGEST_LINE) this.flush();
    else if (this.#patience !== undefined) this.#cancel ??= host.timer(() => this.flush(), this.#patience, false);
  }

  /** Lets through what there is. */
  flush(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    if (this.#size === 0) return;
    const lines = joined(this.#rest, this.#size);
    this.#rest = [];
    this.#size = 0;
    this.#sink(lines);
  }

  #keep(bytes: Uint8Array): void {
    this.#rest.push(bytes);
    this.#size += bytes.length;
  }
}

/** Keeps the end of what is added. */
class Tail {
  #pieces: Uint8Array[] = [];
  #size = 0;

  add(bytes: Uint8Array): void {
    // A copy: a piece may be a small part of a large buffer. One byte more than is told shows whether something is missing.
    const piece = bytes.slice(-LAST_WORDS - 1);
    this.#pieces.push(piece);
    this.#size += piece.length;
    for (let first = this.#pieces[0]; first !== undefined; first = this.#pieces[0]) {
      if (this.#size - first.length <= LAST_WORDS) break;
      this.#size -= first.length;
      this.#pieces.shift();
    }
  }

  /** As text; where something is missing before it, it begins with a whole line if it can. */
  get text(): string {
    const bytes = joined(this.#pieces, this.#size);
    const from = Math.max(0, bytes.length - LAST_WORDS);
    const line = from === 0 ? 0 : bytes.indexOf(NEWLINE, from - 1) + 1;
    return host.utf8Read(bytes, line < bytes.length && line > 0 ? line : from, bytes.length).trimEnd();
  }
}

function joined(pieces: readonly Uint8Array[], size: number): Uint8Array {
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
function* split(lines: Uint8Array): Generator<Uint8Array> {
  for (let from = 0; from < lines.length; ) {
    const end = lines.indexOf(NEWLINE, from);
    const to = end < 0 ? lines.length : end;
    yield lines.subarray(from, to);
    from = to + 1;
  }
}

/** The same lines, each behind the label; all of them have an end. */
function labelled(lines: Uint8Array, label: string): Uint8Array {
  const prefix = new TextEncoder().encode(label);
  const end = Uint8Array.of(NEWLINE);
  const pieces = [...split(lines)].flatMap((line) => [prefix, line, end]);
  return joined(
    pieces,
    pieces.reduce((size, piece) => size + piece.length, 0),
  );
}

/** What a user's function throws is reported as what any listener throws, and keeps nobody from reading on. */
function tell(listen: (line: OutputLine) => void, line: OutputLine): void {
  try {
    listen(line);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
