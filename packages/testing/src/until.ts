/** Waiting for conditions, and files of tests. */
import fs from "node:fs";

/** Returns the URL of `fixtures/<name>` beside the test with the given `import.meta.url`. */
export function fixture(importMetaUrl: string, name: string): URL {
  return new URL(`./fixtures/${name}`, importMetaUrl);
}

/** The options of {@linkcode until}. */
export interface UntilOptions {
  /** The limit of the wait, in milliseconds. @default 10000 */
  timeout?: number;
  /** The time between two evaluations, in milliseconds. @default 5 */
  interval?: number;
  /** A description of the condition, for the error. */
  message?: string | (() => string);
}

/**
 * Evaluates `condition` again and again until its result is truthy, and returns that result.
 *
 * @throws Error with the message if the time runs out
 */
export async function until<T>(condition: () => T | Promise<T>, options: UntilOptions = {}): Promise<Awaited<T>> {
  const { timeout = 10_000, interval = 5, message = `waiting for ${condition}` } = options;
  const deadline = performance.now() + timeout;
  while (true) {
    const result = await condition();
    if (result) return result;
    if (performance.now() >= deadline) {
      throw new Error(`Not within ${timeout} ms: ${typeof message === "function" ? message() : message}`);
    }
    await new Promise((resolve) => setTimeout(resolve, interval));
  }
}

/**
 * Returns the complete lines of a file that children append to; none if the file does not exist.
 */
export function linesOf(file: string): string[] {
  return fs.existsSync(file) ? fs.readFileSync(file, "utf8").split("\n").slice(0, -1) : [];
}
