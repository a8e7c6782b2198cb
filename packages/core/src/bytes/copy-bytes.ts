/** For few bytes a loop is faster than what copies many, and than the view of them that this takes. */
const LOOP_COPY_MAX_BYTES = 64;

/** Copies the bytes from `start` to before `end` of a source into a target, from `at` on; there must be room for them. */
export function copyBytes(source: Uint8Array, start: number, end: number, target: Uint8Array, at: number): void {
  const length = end - start;
  if (length <= LOOP_COPY_MAX_BYTES) for (let i = 0; i < length; i++) target[at + i] = source[start + i] as number;
  else target.set(start === 0 && end === source.length ? source : source.subarray(start, end), at);
}
