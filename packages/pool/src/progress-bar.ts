import { ProcessError } from "@multiproc/core";
import { checkOptions } from "@multiproc/core/internal";
import type { Progress } from "./options.ts";

/**
 * Options of a progress bar.
 *
 * @example A bar with its own format
 * ```ts
 * import { type ProgressBarOptions, progressBar } from "@multiproc/pool";
 *
 * const options: ProgressBarOptions = { title: "photos", format: "{title} {value}/{total}" };
 * const onProgress = await progressBar(options);
 * console.log(typeof onProgress); // function: pass it to map() as onProgress
 * onProgress.stop();
 * ```
 */
export interface ProgressBarOptions {
  /** The text before the bar. @default "" */
  readonly title?: string | undefined;
  /**
   * The format, in the syntax of the package `cli-progress`.
   * @default title, bar, percentage, rate and time left
   */
  readonly format?: string | undefined;
}

/**
 * A progress bar of a map: a function to pass to it as `onProgress`. It ends with the map, or by
 * `stop()`.
 *
 * @example Stop a bar
 * ```ts
 * import { type ProgressBar, progressBar } from "@multiproc/pool";
 *
 * const bar: ProgressBar = await progressBar();
 * bar({ done: 1, total: 2, elapsed: 10, rate: 100, timeLeft: 10 }); // as map() calls it
 * bar.stop();
 * ```
 */
export interface ProgressBar extends Disposable {
  (progress: Progress): void;
  /** Ends the bar before it is full, for example when the map has failed. */
  stop(): void;
}

/** The part of `cli-progress` that is used. */
interface Bar {
  timer?: { unref?(): void } | null;
  start(total: number, done: number, payload: object): void;
  update(done: number, payload: object): void;
  setTotal(total: number): void;
  render(): void;
  stop(): void;
}

const PACKAGE_NAME = "cli-progress";
const DEFAULT_FORMAT = "{title}[{bar}] {percentage}% | {value}/{total} | {speed}/s | {left} left";

/**
 * Creates a progress bar on the terminal, drawn by the package `cli-progress`, which this call
 * loads. It writes to standard error, and draws nothing if that is not a terminal.
 *
 * @param options title and format
 * @throws {ProcessError} if `cli-progress` is not installed
 *
 * @example A map with a progress bar
 * ```ts
 * // file: tasks.ts
 * import { task } from "@multiproc/core";
 *
 * export const square = task(import.meta.url, function square(x: number) {
 *   return x * x;
 * });
 * // file: main.ts
 * import { Pool, progressBar } from "@multiproc/pool";
 * import { square } from "./tasks.ts";
 *
 * await using pool = new Pool({ processes: 2 });
 * using onProgress = await progressBar({ title: "squares" });
 * console.log((await pool.map(square, [1, 2, 3], { onProgress })).length); // 3
 * ```
 */
export async function progressBar(options: ProgressBarOptions = {}): Promise<ProgressBar> {
  checkOptions("progressBar()", options, ["title", "format"]);
  const bar = await makeBar(options.format ?? DEFAULT_FORMAT);
  const title = options.title === undefined ? "" : `${options.title} `;
  let isShown = false;
  const stop = (): void => {
    if (isShown) bar.stop();
    isShown = false;
  };
  const show = (progress: Progress): void => {
    const { done, total, rate, timeLeft } = progress;
    const payload = { title, speed: formatRate(rate), left: formatDuration(timeLeft) };
    if (!isShown) bar.start(total, done, payload);
    isShown = true;
    bar.update(done, payload);
    if (done >= total) stop();
  };
  return Object.assign(show, { stop, [Symbol.dispose]: stop });
}

async function makeBar(format: string): Promise<Bar> {
  const { SingleBar } = await loadPackage();
  const bar = new SingleBar({ format, hideCursor: true, barsize: 30, stream: undefined, stopOnComplete: false });
  const render = bar.render.bind(bar);
  bar.render = () => {
    render();
    bar.timer?.unref?.(); // the timer must not keep the program alive after a failed map
  };
  return bar;
}

async function loadPackage(): Promise<{ SingleBar: new (options: object) => Bar }> {
  const reasons: unknown[] = [];
  // Without a node_modules folder, Deno needs the specifier with "npm:".
  for (const specifier of [PACKAGE_NAME, `npm:${PACKAGE_NAME}@^3`]) {
    try {
      const module = await import(specifier);
      return module.default ?? module;
    } catch (error) {
      reasons.push(error);
    }
  }
  throw new ProcessError(`progressBar() needs the package "${PACKAGE_NAME}": install it beside @multiproc/pool`, {
    code: "ERR_NO_PROGRESS_BAR",
    cause: reasons[0],
  });
}

function formatRate(rate: number): string {
  return rate >= 1e6
    ? `${(rate / 1e6).toFixed(1)} M`
    : rate >= 1000
      ? `${(rate / 1000).toFixed(1)} k`
      : rate.toFixed(1);
}

function formatDuration(ms: number): string {
  if (!Number.isFinite(ms)) return "?";
  const seconds = Math.ceil(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
