/** The child's side of a start: what every entry runs first. */
import { dial, type Frame, flushChannels, host, inheritDoor, leaving, loadModules } from "@multiproc/core/internal";
import { role } from "./fork/role.ts";

/**
 * What a child's entry is given.
 *
 * @internal
 */
export interface ParentLink {
  /** The next value that the parent sent; the modules it names are loaded first. */
  receive(): Promise<unknown>;
  /** Ends this process, when all that it sent and wrote has left. */
  leave(code: number): Promise<never>;
}

/**
 * Connects this child with its parent and runs `main`. The child ends when its parent does.
 *
 * @internal
 */
export function enter(main: (parent: ParentLink) => Promise<void>): (...args: string[]) => Promise<void> {
  if (!role.isForkServer) void run(main, ...host.takeArgs());
  return (...args) => run(main, ...args);
}

async function run(main: (parent: ParentLink) => Promise<void>, address = "", token = "", place = ""): Promise<void> {
  host.keepOutputOnExit();
  inheritDoor(place);
  const frames: Frame[] = [];
  let arrived = (): void => {};
  let channel: Awaited<ReturnType<typeof dial>>;
  try {
    channel = await dial({ address, token }, "the parent process");
  } catch {
    return host.exit(1); // the parent died while this process started
  }
  channel.ref();
  channel.start({
    message(frame) {
      frames.push(frame);
      arrived();
    },
    closed: () => host.exit(1), // the parent is gone, and nobody is left to work for
  });
  await main({
    async receive() {
      while (frames.length === 0) await new Promise<void>((resolve) => (arrived = resolve));
      const frame = frames.shift() as Frame;
      await loadModules(frame.modules);
      return channel.decode(frame);
    },
    async leave(code) {
      await leaving.finished();
      await flushChannels();
      return host.exit(code);
    },
  });
}
