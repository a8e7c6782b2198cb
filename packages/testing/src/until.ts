import fs from "node:fs";

/** The URL of `fixtures/<name>` beside the test whose `import.meta.url` is given. */
export function fixture(importMetaUrl: string, name: string): URL {
  return new URL(`./fixtures/${name}`, importMetaUrl);
}

/** How long and how often {@linkcode until} looks. */
export interface UntilOptions {
  /** How long to wait, in milliseconds. @default 10000 */
  timeout?: number;
  /** How long to rest between two looks, in milliseconds. @default 5 */
  interval?: number;
  /** What was waited for; the error says it. */
  message?: string | (() => string);
}

/**
 * Looks at `condition` until it gives something true, and gives that.
 *
 * @throws Error with the message when the time runs out.
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

/** The whole lines of a file to which children append; none while it is not there, and none that is still being written. */
export function linesOf(file: string): string[] {
  return fs.existsSync(file) ? fs.readFileSync(file, "utf8").split("\n").slice(0, -1) : [];
}
