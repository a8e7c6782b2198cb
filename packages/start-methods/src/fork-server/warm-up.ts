/**
 * What a child does first, done in the fork server: dialling, and reading what the parent sends. What Node and this library
 * run for that is compiled then, and every child inherits it.
 */
import { dial, encodeMessage, type Frame, host, SocketChannel } from "@multiproc/core/internal";

const TIMES = 25;
/** Of the kinds of values that every start sends. */
const MESSAGE = {
  name: "Process-1",
  daemon: false,
  identity: [1],
  key: new Uint8Array(32),
  parent: { name: "MainProcess", pid: 1 },
};

/** Leaves no socket open. */
export async function rehearseSessions(place: string): Promise<void> {
  let accepted: (channel: SocketChannel) => void;
  const server = host.listen(
    place,
    (stream) => accepted(new SocketChannel(stream)),
    () => {},
  );
  for (let i = 0; i < TIMES; i++) {
    const arrival = new Promise<SocketChannel>((resolve) => (accepted = resolve));
    const child = await dial({ address: place, token: "rehearsal" }, "the rehearsal");
    const parent = await arrival;
    let closed = (): void => {};
    const end = new Promise<void>((resolve) => (closed = resolve));
    const frames: Frame[] = [];
    let arrived = (): void => {};
    parent.start({ message: () => {}, closed: () => {} });
    child.start({
      message(frame) {
        frames.push(frame);
        arrived();
      },
      closed,
    });
    child.ref();
    for (let j = 0; j < 4; j++) parent.forward(0, encodeMessage(MESSAGE, "rehearsal").frame);
    for (let j = 0; j < 4; j++) {
      while (frames.length === 0) await new Promise<void>((resolve) => (arrived = resolve));
      child.decode(frames.shift() as Frame);
    }
    parent.destroy();
    await end;
  }
  server.close();
  host.remove(place);
}
