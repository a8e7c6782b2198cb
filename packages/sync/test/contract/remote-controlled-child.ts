import { fromModule } from "@multiproc/core";
import { type Connection, pipe } from "@multiproc/pipe";
import { Process } from "@multiproc/process";
import { fixture, noChildLeft } from "@multiproc/testing";

const url = fixture(new URL("../remote-controlled-child.ts", import.meta.url).href, "remote-controlled-child.js");
/** The tasks of child processes. */
export const tasks = fromModule<typeof import("../fixtures/remote-controlled-child.js")>(url);

const children: Process[] = [];
const connections: Connection[] = [];

/** A child process whose objects the test uses by calls. */
export interface RemoteChild {
  readonly process: Process;
  readonly connection: Connection;
  call(name: string, method: string, ...args: unknown[]): Promise<never>;
  kill(): Promise<void>;
}

/** Starts a child process. It ends with the test. */
export async function startTask(target: (...args: never[]) => unknown, ...args: unknown[]): Promise<Process> {
  const child = new Process({ target: target as never, args: args as never });
  children.push(child);
  await child.start();
  return child;
}

/** Starts a child process that has some objects. */
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
      reply.catch(() => {}); // a call to a killed child may be left unanswered
      connection.send([id, name, method, ...args]).catch(() => {});
      return reply;
    },
    async kill() {
      process.kill();
      await process.join();
    },
  };
}

/** Ends all children and connections. For `afterEach`. */
export async function endAll(): Promise<void> {
  for (const child of children.splice(0)) {
    child.kill();
    await child.join();
  }
  for (const connection of connections.splice(0)) connection.close();
  await noChildLeft();
}
