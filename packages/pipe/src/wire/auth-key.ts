/** Refuses what is no key, at the call; the key is kept as it is now. */
export function checkKey(call: string, key: unknown): Uint8Array | undefined {
  if (key === undefined) return undefined;
  if (!(key instanceof Uint8Array)) throw new TypeError(`${call} takes a Uint8Array as authKey, not ${typeof key}`);
  if (key.length === 0) throw new RangeError(`${call} got an empty authKey, which would keep nobody out`);
  return key.slice();
}
