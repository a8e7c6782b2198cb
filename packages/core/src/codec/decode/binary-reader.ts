/**
 * Readers of binary data. Small data is copied out of the message. Large data takes over the memory
 * of a part.
 */
import { ProtocolError } from "../../errors.ts";
import { host } from "../../host/mod.ts";
import { BINARY_KINDS } from "../format/tags.ts";
import type { ReadContext } from "./read-context.ts";

/** Node's `Buffer`. This call of `from()` does not copy. */
interface BufferClass {
  from(buffer: ArrayBuffer, offset: number, length: number): Uint8Array;
}
type ViewConstructor = new (buffer: ArrayBuffer, offset: number, length: number) => ArrayBufferView;
type ResizableBuffer = new (length: number, options: { maxByteLength: number }) => ArrayBuffer;

type Classes = Readonly<Record<string, (ViewConstructor & { BYTES_PER_ELEMENT?: number }) | undefined>>;

const ARRAY_BUFFER = BINARY_KINDS.indexOf("ArrayBuffer");
const BUFFER = BINARY_KINDS.indexOf("Buffer");
const RESIZABLE = BINARY_KINDS.indexOf("resizable ArrayBuffer");

/** Reads binary data in the message itself. */
export function readBinary(reader: ReadContext): object {
  const kind = reader.byte();
  const length = reader.length(1);
  const copy = new Uint8Array(length);
  const { bytes, position } = reader;
  copy.set(new Uint8Array(bytes.buffer, bytes.byteOffset + position, length));
  reader.position = position + length;
  return withKind(reader, kind, copy);
}

/** Reads binary data in a part. */
export function readPart(reader: ReadContext): object {
  const kind = reader.byte();
  return withKind(reader, kind, reader.part());
}

function withKind(reader: ReadContext, kind: number, bytes: Uint8Array): object {
  const name = BINARY_KINDS[kind];
  if (name === undefined) throw new ProtocolError(`Malformed message: unknown kind of binary data (${kind})`);
  if (kind === RESIZABLE) return resizable(bytes, reader.float64());
  // A view of a larger buffer would keep the whole buffer in memory, so it is copied.
  const { buffer } = bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);
  if (kind === ARRAY_BUFFER) return buffer;
  return kind === BUFFER ? nodeBuffer(buffer as ArrayBuffer) : viewOf(name, buffer as ArrayBuffer);
}

function viewOf(name: string, buffer: ArrayBuffer): object {
  const viewClass = (globalThis as unknown as Classes)[name];
  if (viewClass === undefined) throw new ProtocolError(`Cannot decode a ${name}: this runtime does not support it`);
  const size = viewClass.BYTES_PER_ELEMENT ?? 1;
  if (buffer.byteLength % size !== 0)
    throw new ProtocolError(`Malformed message: a ${name} of ${buffer.byteLength} bytes`);
  return new viewClass(buffer, 0, buffer.byteLength / size);
}

function nodeBuffer(buffer: ArrayBuffer): Uint8Array {
  if (host.name !== "node") return new Uint8Array(buffer);
  return (globalThis as unknown as { Buffer: BufferClass }).Buffer.from(buffer, 0, buffer.byteLength);
}

function resizable(bytes: Uint8Array, maxByteLength: number): ArrayBuffer {
  const buffer = new (ArrayBuffer as unknown as ResizableBuffer)(bytes.byteLength, { maxByteLength });
  new Uint8Array(buffer).set(bytes);
  return buffer;
}
