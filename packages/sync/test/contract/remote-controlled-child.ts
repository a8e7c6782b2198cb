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
export interface RemoteChild {
  readonly process: Process;
  readonly connection: Connection;
  call(name: string, method: string, ...args: unknown[]): Promise<never>;
  kill(): Promise<void>;
}

/** Starts a child; it ends with the test. */
export async function startTask(target: (...args: never[]) => unknown, ...args: unknown[]): Promise<Process> {
  const child = new Process({ target: target as never, args: args as never });
  children.push(child);
  await child.start();
  return child;
}

/** Starts a child with things that it can use. */
export async function startRemoteChild(objects: Record<string, unknown>): Promise<RemoteChild> {
  const [ours, theirs] = pipe();
  const connection = ours as Connection;
  connections.push(connection);
  const process = await startTask(tasks.remoteChild, theirs, objects);
  await connection.recv();
  const pendingCalls = new Map<number, { resolve(value: never): void; reject(error: unknown): void }>();
  void (async () => {
    for await (const message of connection) {
      const [id, kind, value] = message as [number, string, never];
      const pending = pendingCalls.get(id);
      pendingCalls.delete(id);
      if (kind === "error") pending?.reject(value);
      else pending?.resolve(value);
    }
  })().catch(() => {});
  let id = 0;
  return {
    process,
    connection,
    call(name, method, ...args) {
      id += 1;
      const reply = new Promise<never>((resolve, reject) => pendingCalls.set(id, { resolve, reject }));
      reply.catch(() => {}); // of a puppet that is killed, nobody asks
      connection.send([id, name, method, ...args]).catch(() => {});
      return reply;
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
