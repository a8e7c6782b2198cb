/**
 * Buffers for large parts of arriving messages, with a workaround for glibc's malloc.
 *
 * glibc allocates a large block by mmap() and returns it to the system as soon as it is freed. The
 * first access to a page of a fresh block takes several times as long as copying the data into it.
 * When the program frees such a block, glibc raises the threshold for mmap() to its size ("dynamic
 * mmap threshold" in mallopt(3)). It then keeps up to twice as much freed memory. So after a few
 * large buffers, this file frees one untouched block of the largest size that raises the threshold.
 * If the environment configures malloc(), glibc disables the dynamic threshold, and nothing
 * changes.
 */
import { host } from "../host/mod.ts";
import { native } from "../native/mod.ts";

/** A buffer of at least this size is large. */
const LARGE_BUFFER_BYTES = 1024 * 1024;
/** Large buffers after which the program is expected to need more of them. */
const RAISE_AFTER_COUNT = 3;
/** glibc's DEFAULT_MMAP_THRESHOLD_MAX on 64-bit systems, minus room for the header of a block. */
const MAX_MMAP_THRESHOLD_BYTES = 32 * 1024 * 1024 - 64 * 1024;
let largeBufferCount = 0;

/**
 * Returns uninitialized memory.
 *
 * @throws {RangeError} if none is left
 */
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
