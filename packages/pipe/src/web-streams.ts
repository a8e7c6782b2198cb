/** A connection's bytes as web streams. */
import type { Connection } from "./connection.ts";
import { isEndOfPipe } from "./ends/receive.ts";

type ByteConnection = Pick<Connection, "recvBytes" | "sendBytes" | "close">;

/** What is received, as chunks: one a message, empty ones left out. */
export function toReadable(connection: ByteConnection): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      type: "bytes",
      async pull(controller: ReadableByteStreamController) {
        try {
          let bytes = await connection.recvBytes();
          while (bytes.length === 0) bytes = await connection.recvBytes();
          controller.enqueue(bytes as Uint8Array<ArrayBuffer>);
        } catch (error) {
          if (!isEndOfPipe(error)) throw error;
          connection.close();
          controller.close();
          controller.byobRequest?.respond(0); // who reads into a buffer of its own is told so
        }
      },
      cancel() {
        connection.close();
      },
    } as never,
    { highWaterMark: 0 },
  );
}

/** Where chunks go to be sent: each as one message. */
export function toWritable(connection: ByteConnection): WritableStream<Uint8Array> {
  const close = (): void => connection.close();
  return new WritableStream<Uint8Array>({ write: (chunk) => connection.sendBytes(chunk), close, abort: close });
}
