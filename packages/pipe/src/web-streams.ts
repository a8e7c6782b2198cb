/** A connection's bytes as web streams. */
import { isEndOfPipe } from "./ends/receive.ts";

/** The part of a connection that the streams use. */
interface ByteConnection {
  recvBytes(): Promise<Uint8Array>;
  sendBytes(bytes: Uint8Array): Promise<void>;
  close(): void;
}

/** Returns a stream with one chunk per message. A byte stream has no empty chunks, so empty messages are left out. */
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
          controller.byobRequest?.respond(0); // otherwise a pending read into a buffer never settles
        }
      },
      cancel() {
        connection.close();
      },
    } as never,
    { highWaterMark: 0 },
  );
}

/** Returns a stream that sends each chunk as one message. */
export function toWritable(connection: ByteConnection): WritableStream<Uint8Array> {
  const close = (): void => connection.close();
  return new WritableStream<Uint8Array>({ write: (chunk) => connection.sendBytes(chunk), close, abort: close });
}
