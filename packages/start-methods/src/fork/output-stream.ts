/** What a forked child writes, as a stream in its parent: the server connects the child's standard output to a socket here. */
import { host, placeForChild } from "@multiproc/core/internal";

/** The way of one standard stream to this process. */
export interface OutputStream {
  /** Where the server shall connect. */
  readonly socket: string;
  readonly stream: ReadableStream<Uint8Array>;
  /** Takes the place away; a stream that nobody has connected to ends. */
  close(): void;
}

/** Opens a place for one connection. */
export function openOutputStream(): OutputStream {
  const socket = placeForChild();
  let controller: ReadableStreamDefaultController<Uint8Array>;
  let source: { resume(): void; destroy(): void } | undefined;
  const stream = new ReadableStream<Uint8Array>({
    start: (made) => void (controller = made),
    pull: () => source?.resume(),
    cancel: () => source?.destroy(),
  });
  const server = host.listen(
    socket,
    (connection) => {
      close();
      source = connection;
      connection.start({
        data: (chunk) => {
          controller.enqueue(chunk);
          if ((controller.desiredSize ?? 0) <= 0) connection.pause();
        },
        end: () => finish(),
        drain: () => {},
      });
    },
    () => {}, // the server finds nobody there, and says so
  );
  let isOpen = true;
  const close = (): void => {
    if (!isOpen) return;
    isOpen = false;
    server.close();
    host.remove(socket);
  };
  const finish = (): void => {
    try {
      controller.close();
    } catch {} // cancelled by its reader
  };
  return {
    socket,
    stream,
    close: () => {
      if (isOpen) finish();
      close();
    },
  };
}
