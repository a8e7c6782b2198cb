/**
 * Memory for large pieces of what arrives.
 *
 * The C library gives a large block back to the system as soon as it is freed, and to touch one for the first time that the
 * system has just given takes several times as long as to copy the piece into it. glibc stops doing that for blocks of a size
 * that a program has freed before (see "dynamic mmap threshold" in mallopt(3)), and keeps up to twice as much of what is freed.
 * So where large pieces come again and again, one block of the greatest size for which it does is freed, which nobody has
 * touched. A program whose environment says what malloc() is to do is left as it is.
 */
import { host } from "../host/mod.ts";
import { native } from "../native/mod.ts";

/** How many bytes make a piece large, and how many such pieces come again and again. */
const LARGE_BUFFER_BYTES = 1024 * 1024;
const RAISE_AFTER_COUNT = 3;
/** glibc's DEFAULT_MMAP_THRESHOLD_MAX on systems of 64 bits, with room for what it notes beside a block. */
const MAX_MMAP_THRESHOLD_BYTES = 32 * 1024 * 1024 - 64 * 1024;
let largeBufferCount = 0;

/** Memory of that size, which may hold anything. @throws {RangeError} if there is none */
export function allocateReceiveBuffer(size: number): Uint8Array<ArrayBuffer> {
  if (size >= LARGE_BUFFER_BYTES && ++largeBufferCount === RAISE_AFTER_COUNT) raiseMmapThreshold();
  return host.allocUnsafe(size);
}

function raiseMmapThreshold(): void {
  const libc = native()?.libc;
  if (libc === undefined) return;
  const block = libc.malloc(MAX_MMAP_THRESHOLD_BYTES);
  if (block !== 0) libc.free(block);
}
