import { checkOptions, describeValue } from "@multiproc/core/internal";
import { Connection } from "./connection.ts";
import { createEnds } from "./ends/local-end.ts";
import type { PipeOptions } from "./options.ts";

/**
 * Makes a pipe with one direction: the first end only receives, the second only sends.
 *
 * @typeParam A the type of the messages
 */
export function pipe<A = unknown, _B = A>(options: {
  readonly duplex: false;
}): [Connection<A, never>, Connection<never, A>];
/**
 * Makes a pipe and returns its two ends.
 *
 * @typeParam A the type of the messages that the first end receives
 * @typeParam B the type of the messages that the second end receives
 *
 * @example One end for a child
 * ```ts
 * // file: tasks.ts
 * import { task } from "@multiproc/core";
 * import type { Connection } from "@multiproc/pipe";
 *
 * export const answer = task(import.meta.url, async function answer(connection: Connection<number>) {
 *   const question = await connection.recv();
 *   await connection.send(question * 6);
 * });
 * // file: main.ts
 * import { pipe } from "@multiproc/pipe";
 * import { Process } from "@multiproc/process";
 * import { answer } from "./tasks.ts";
 *
 * const [here, there] = pipe<number>();
 * const child = new Process({ target: answer, args: [there] });
 * await child.start();
 * await here.send(7);
 * console.log(await here.recv()); // 42
 * await child.join();
 * ```
 *
 * @example Different types in the two directions
 * ```ts
 * import { type Connection, pipe } from "@multiproc/pipe";
 *
 * const [client, server]: [Connection<number, string>, Connection<string, number>] = pipe<number, string>();
 * await client.send("12");
 * await server.send(Number(await server.recv()));
 * console.log(await client.recv()); // 12
 * ```
 */
export function pipe<A = unknown, B = A>(options?: PipeOptions): [Connection<A, B>, Connection<B, A>];
export function pipe(options: PipeOptions = {}): [Connection, Connection] {
  checkOptions("pipe()", options, ["duplex"]);
  const { duplex = true } = options;
  if (typeof duplex !== "boolean")
    throw new TypeError(`pipe() takes true or false as duplex, not ${describeValue(duplex)}`);
  const [first, second] = createEnds();
  return [new Connection(first, true, duplex, true), new Connection(second, duplex, true, true)];
}
