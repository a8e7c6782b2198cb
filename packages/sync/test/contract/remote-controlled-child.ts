import { fromModule } from "@multiproc/core";
import { type Connection, pipe } from "@multiproc/pipe";
import { Process } from "@multiproc/process";
import { fixture, noChildLeft } from "@multiproc/testing";

const url = fixture(new URL("../puppet.ts", import.meta.url).href, "puppet.js");
/** What children do. */
export const tasks = fromModule<typeof import("../fixtures/puppet.js")>(url);

const children: Process[] = [];
const connections: Connection[] = [];

/** A child process that does what it is told with the things that it was given. */
export interface Puppet {
  readonly process: Process;
  readonly connection: Connection;
  call(name: string, method: string, ...args: unknown[]): Promise<never>;
  kill(): Promise<void>;
}

/** Starts a child; it ends with the test. */
export async function start(target: (...args: never[]) => unknown, ...args: unknown[]): Promise<Process> {
  const child = new Process({ target: target as never, args: args as never });
  children.push(child);
  await child.start();
  return child;
}

/** Starts a child with things that it can use. */
export async function puppet(things: Record<string, unknown>): Promise<Puppet> {
  const [ours, theirs] = pipe();
  const connection = ours as Connection;
  connections.push(connection);
  const process = await start(tasks.puppet, theirs, things);
  await connection.recv();
  const answers = new Map<number, { resolve(value: never): void; reject(error: unknown): void }>();
  void (async () => {
    for await (const message of connection) {
      const [id, kind, value] = message as [number, string, never];
      const answer = answers.get(id);
      answers.delete(id);
      if (kind === "error") answer?.reject(value);
      else answer?.resolve(value);
    }
  })().catch(() => {});
  let id = 0;
  return {
    process,
    connection,
    call(name, method, ...args) {
      id += 1;
      const answer = new Promise<never>((resolve, reject) => answers.set(id, { resolve, reject }));
      answer.catch(() => {}); // of a puppet that is killed, nobody asks
      connection.send([id, name, method, ...args]).catch(() => {});
      return answer;
    },
    async kill() {
      process.kill();
      await process.join();
    },
  };
}

/** For `afterEach`. */
export async function endAll(): Promise<void> {
  for (const child of children.splice(0)) {
    child.kill();
    await child.join();
  }
  for (const connection of connections.splice(0)) connection.close();
  await noChildLeft();
}
