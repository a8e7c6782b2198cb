/** The buffers of `sendBytes()`, `recvBytes()` and `recvBytesInto()`. All offsets and sizes are in bytes. */
import { checkOptions, describeValue } from "@multiproc/core/internal";
import { beginWait } from "./ends/receive.ts";
import { BufferTooShortError } from "./errors.ts";
import type { RecvBytesIntoOptions, RecvBytesOptions, SendBytesOptions } from "./options.ts";

const SEND_BYTES_OPTIONS: readonly string[] = ["offset", "size"];
const RECV_BYTES_OPTIONS: readonly string[] = ["maxLength", "timeout", "signal"];
const RECV_BYTES_INTO_OPTIONS: readonly string[] = ["offset", "timeout", "signal"];

/** A buffer to write into: an `ArrayBuffer`, a `SharedArrayBuffer`, a typed array or a `DataView`. */
export type WritableBuffer = ArrayBufferLike | ArrayBufferView<ArrayBufferLike>;

/**
 * Returns the part of `bytes` that `sendBytes()` sends.
 *
 * @throws {TypeError} if `bytes` is not a `Uint8Array`
 * @throws {RangeError} if the part does not lie within `bytes`
 */
export function bytesToSend(bytes: Uint8Array, options: SendBytesOptions | undefined): Uint8Array {
  if (!(bytes instanceof Uint8Array))
    throw new TypeError(
      ArrayBuffer.isView(bytes)
        ? "sendBytes() takes a Uint8Array: send new Uint8Array(view.buffer, view.byteOffset, view.byteLength)"
        : `sendBytes() takes a Uint8Array, not ${describeValue(bytes)}`,
    );
  if (options === undefined) return bytes;
  checkOptions("sendBytes()", options, SEND_BYTES_OPTIONS);
  const { offset = 0, size = bytes.length - offset } = options;
  if (!(isCount(offset) && isCount(size) && offset + size <= bytes.length))
    throw new RangeError(`sendBytes() got offset ${offset} and size ${size} for ${bytes.length} bytes`);
  return bytes.subarray(offset, offset + size);
}

/** Checks the options of `recvBytes()`, and returns its limit. */
export function checkRecvBytes(options: RecvBytesOptions): number {
  beginWait("recvBytes()", options, RECV_BYTES_OPTIONS);
  const { maxLength = Number.POSITIVE_INFINITY } = options;
  if (!(typeof maxLength === "number" && maxLength >= 0))
    throw new RangeError(`recvBytes() takes a maxLength of 0 or more bytes, not ${String(maxLength)}`);
  return maxLength;
}

/** Returns a message if it is not too long. @throws {BufferTooShortError} with the message, if it is */
export function limitLength(message: Uint8Array, maxLength: number): Uint8Array {
  if (message.length > maxLength) throw new BufferTooShortError("recvBytes()", message, maxLength);
  return message;
}

/** Checks the buffer and the options of `recvBytesInto()` before it takes a message, and returns its offset. */
export function checkRecvBytesInto(buffer: WritableBuffer, options: RecvBytesIntoOptions): number {
  beginWait("recvBytesInto()", options, RECV_BYTES_INTO_OPTIONS);
  const { offset = 0 } = options;
  if (!ArrayBuffer.isView(buffer) && !isArrayBuffer(buffer))
    throw new TypeError(`recvBytesInto() takes a typed array or an ArrayBuffer, not ${describeValue(buffer)}`);
  if (!(isCount(offset) && offset <= buffer.byteLength))
    throw new RangeError(
      `recvBytesInto() takes an offset from 0 to ${buffer.byteLength} for this buffer, not ${String(offset)}`,
    );
  return offset;
}

/**
 * Writes a message into a buffer. Returns the number of bytes.
 *
 * @throws {BufferTooShortError} if there is not enough room behind `offset`
 */
export function copyMessage(message: Uint8Array, buffer: WritableBuffer, offset: number): number {
  // The buffer may have been resized or transferred during the wait, so its length is read now.
  const isView = ArrayBuffer.isView(buffer);
  const hasMemory = (isView ? buffer.buffer : buffer).byteLength > 0;
  const room = hasMemory ? Math.max(0, buffer.byteLength - offset) : 0;
  if (message.length > room) throw new BufferTooShortError("recvBytesInto()", message, room);
  if (message.length > 0)
    new Uint8Array(isView ? buffer.buffer : buffer, isView ? buffer.byteOffset : 0).set(message, offset);
  return message.length;
}

function isCount(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0;
}

/** Whether an object is an `ArrayBuffer` or a `SharedArrayBuffer`, also one of another realm. */
function isArrayBuffer(value: unknown): boolean {
  return /^\[object (Shared)?ArrayBuffer\]$/.test(Object.prototype.toString.call(value));
}
