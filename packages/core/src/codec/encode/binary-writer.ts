/**
 * Writers of binary data. Data below 64 KiB is copied into the message. Larger data becomes a part,
 * without a copy.
 */
import { host } from "../../host/mod.ts";
import { BINARY, BINARY_KINDS, BINARY_PART, MIN_PART_BYTES } from "../format/tags.ts";
import { EncodeFailure } from "./encode-failure.ts";
import type { WriteContext } from "./write-context.ts";

const ARRAY_BUFFER = BINARY_KINDS.indexOf("ArrayBuffer");
const RESIZABLE = BINARY_KINDS.indexOf("resizable ArrayBuffer");
const DATA_VIEW = BINARY_KINDS.indexOf("DataView");
const BUFFER = BINARY_KINDS.indexOf("Buffer");

const typedArrayName = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag)
  ?.get as (this: unknown) => string | undefined;
const arrayBufferLength = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, "byteLength")?.get as (
  this: unknown,
) => number;

/**
 * The prototype of Node's `Buffer`, which arrives as a Buffer on Node; undefined on other hosts.
 */
const bufferPrototype =
  host.name === "node" ? (globalThis as unknown as { Buffer: { prototype: object } }).Buffer.prototype : undefined;

/** Appends a typed array or a DataView: only its own bytes, not the rest of its buffer. */
export function writeView(writer: WriteContext, object: object): boolean {
  if (!ArrayBuffer.isView(object)) return false;
  const name = typedArrayName.call(object);
  const kind = name === undefined ? DATA_VIEW : isNodeBuffer(object) ? BUFFER : BINARY_KINDS.indexOf(name);
  if (kind === -1) throw new EncodeFailure(`a ${name}, which this version of multiproc does not support`);
  writeContents(writer, kind, object.buffer, object.byteOffset, object.byteLength);
  return true;
}

/** Appends an ArrayBuffer, with its maximum size if it is resizable. */
export function writeArrayBuffer(writer: WriteContext, object: object): boolean {
  let length: number;
  try {
    length = arrayBufferLength.call(object);
  } catch {
    return false;
  }
  const buffer = object as ArrayBuffer & { resizable?: boolean; maxByteLength?: number };
  const kind = buffer.resizable === true ? RESIZABLE : ARRAY_BUFFER;
  writeContents(writer, kind, buffer, 0, length);
  if (kind === RESIZABLE) writer.float64(buffer.maxByteLength as number);
  return true;
}

function writeContents(
  writer: WriteContext,
  kind: number,
  buffer: ArrayBufferLike,
  offset: number,
  length: number,
): void {
  const bytes = bytesOf(buffer, offset, length);
  writer.ensure(2);
  if (length >= MIN_PART_BYTES) {
    writer.tag(BINARY_PART);
    writer.tag(kind);
    writer.count(writer.attachments.addPart(bytes));
    return;
  }
  writer.tag(BINARY);
  writer.tag(kind);
  writer.count(length);
  writer.ensure(length);
  writer.bytes.set(bytes, writer.position);
  writer.position += length;
}

function bytesOf(buffer: ArrayBufferLike, offset: number, length: number): Uint8Array {
  if (!isArrayBuffer(buffer)) throw new EncodeFailure("a view of a SharedArrayBuffer: use SharedMemory");
  try {
    return new Uint8Array(buffer, offset, length);
  } catch (cause) {
    throw new EncodeFailure("a detached ArrayBuffer", { cause });
  }
}

function isArrayBuffer(buffer: ArrayBufferLike): boolean {
  try {
    arrayBufferLength.call(buffer);
    return true;
  } catch {
    return false;
  }
}

function isNodeBuffer(object: object): boolean {
  return bufferPrototype !== undefined && Object.prototype.isPrototypeOf.call(bufferPrototype, object);
}
