import { registerReviver } from "@multiproc/core/internal";
import { Connection } from "./connection.ts";
import { createEnds } from "./ends/local-end.ts";
import { RemoteEnd } from "./ends/remote-end.ts";

registerReviver("pipe.Connection", (data) => {
  const [socketPath, token, claim, ...flags] = data as [string, string, string, boolean, boolean, boolean];
  return new Connection(new RemoteEnd({ endpoint: { socketPath: socketPath, token }, claim }), ...flags);
});

/**
 * Makes a pipe and returns its two ends.
 *
 * @typeParam A what the first end receives
 * @typeParam B what the second end receives
 * @param options with `duplex: false` the first end only receives and the second only sends
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
 * const [here, there] = pipe<number, number>();
 * const child = new Process({ target: answer, args: [there] });
 * await child.start();
 * await here.send(7);
 * console.log(await here.recv()); // 42
 * await child.join();
 * ```
 */
export function pipe<A = unknown, B = A>(options: { readonly duplex?: boolean } = {}): [Connection<A>, Connection<B>] {
  const duplex = options.duplex ?? true;
  const [first, second] = createEnds();
  return [new Connection<A>(first, true, duplex, true), new Connection<B>(second, duplex, true, true)];
}
