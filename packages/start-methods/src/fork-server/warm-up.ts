/**
 * Warm-up of a fork server: it dials and receives messages as a new child does. The code for that
 * is compiled once, in the server, and every child inherits it.
 */
import { dial, encodeMessage, type Frame, host, StreamChannel } from "@multiproc/core/internal";

const WARM_UP_SESSIONS = 25;
const MESSAGES_PER_SESSION = 4;
/** A message with the kinds of values that every start sends. */
const SAMPLE_MESSAGE = {
  name: "Process-1",
  daemon: false,
  identity: [1],
  key: new Uint8Array(32),
  parent: { name: "MainProcess", pid: 1 },
};

/** Opens and closes connections at a socket path; none stays open. */
export async function warmUpSessions(socketPath: string): Promise<void> {
  let onAccept: (channel: StreamChannel) => void;
  const server = host.listen(
    socketPath,
    (stream) => onAccept(new StreamChannel(stream)),
    () => {},
  );
  for (let i = 0; i < WARM_UP_SESSIONS; i++) {
    const accepted = new Promise<StreamChannel>((resolve) => (onAccept = resolve));
    const child = await dial({ socketPath, token: "warm-up" }, "the warm-up");
    const parent = await accepted;
    let onClosed = (): void => {};
    const childClosed = new Promise<void>((resolve) => (onClosed = resolve));
    const frames: Frame[] = [];
    let onFrame = (): void => {};
    parent.start({ message: () => {}, closed: () => {} });
    child.start({
      message(frame) {
        frames.push(frame);
        onFrame();
      },
      closed: onClosed,
    });
    child.ref();
    for (let j = 0; j < MESSAGES_PER_SESSION; j++) parent.forward(0, encodeMessage(SAMPLE_MESSAGE, "warm-up").frame);
    for (let j = 0; j < MESSAGES_PER_SESSION; j++) {
      while (frames.length === 0) await new Promise<void>((resolve) => (onFrame = resolve));
      child.decode(frames.shift() as Frame);
    }
    parent.destroy();
    await childClosed;
  }
  server.close();
  host.remove(socketPath);
}
