/** The largest copy for which a loop is faster than `set()`, which needs a view of the source. */
const LOOP_COPY_MAX_BYTES = 64;

/**
 * Copies the bytes from `start` up to `end` of `source` to the offset `at` of `target`, which must
 * have room for them.
 */
export function copyBytes(source: Uint8Array, start: number, end: number, target: Uint8Array, at: number): void {
  const length = end - start;
  if (length <= LOOP_COPY_MAX_BYTES) for (let i = 0; i < length; i++) target[at + i] = source[start + i] as number;
  else target.set(start === 0 && end === source.length ? source : source.subarray(start, end), at);
}
