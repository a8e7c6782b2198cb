/**
 * Items in memory, each with a space of its own.
 *
 * ```text
 *   0  magic        4  count
 *   8  for each item: where its space begins, how large it is, its type, how many bytes of it are in use; 4 bytes each
 *   …  the spaces, each at a multiple of 8
 * ```
 *
 * What stands there may come from anybody who can open the memory, so it is checked before it is used.
 */
import { SharedMemoryError } from "./errors.ts";

/** What an item can be. */
export type ShareableItem = number | bigint | boolean | string | Uint8Array | null;
/** What an item is, in words. */
export type ItemType = "null" | "boolean" | "number" | "bigint" | "string" | "bytes";

const TYPES: readonly ItemType[] = ["null", "boolean", "number", "bigint", "string", "bytes"];
const MAGIC = 0x4d504c31;
const HEADER = 8;
const ENTRY = 16;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The items in some memory. */
export class ItemTable {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** How many items are in memory; undefined if it holds something else. */
  static countIn(bytes: Uint8Array): number | undefined {
    if (bytes.length < HEADER) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const count = view.getUint32(4, true);
    return view.getUint32(0, true) === MAGIC && HEADER + count * ENTRY <= bytes.length ? count : undefined;
  }

  /** How many bytes the items take. */
  static sizeFor(items: readonly ShareableItem[]): number {
    return items.reduce<number>((size, item) => size + ENTRY + spaceFor(item), HEADER);
  }

  /** Writes all items into new memory. */
  static lay(bytes: Uint8Array, items: readonly ShareableItem[]): void {
    const table = new ItemTable(bytes);
    let at = HEADER + items.length * ENTRY;
    items.forEach((item, i) => {
      const space = spaceFor(item);
      table.#view.setUint32(HEADER + i * ENTRY, at, true);
      table.#view.setUint32(HEADER + i * ENTRY + 4, space, true);
      table.write("ShareableList", i, item);
      at += space;
    });
    table.#view.setUint32(4, items.length, true);
    table.#view.setUint32(0, MAGIC, true);
  }

  typeOf(index: number): ItemType {
    const type = TYPES[this.#view.getUint32(HEADER + index * ENTRY + 8, true)];
    return type ?? this.#spoiled(index);
  }

  read(index: number): ShareableItem {
    const { at, space } = this.#spaceOf(index);
    const length = this.#view.getUint32(HEADER + index * ENTRY + 12, true);
    if (length > space) this.#spoiled(index);
    switch (this.typeOf(index)) {
      case "null":
        return null;
      case "boolean":
        return this.#bytes[at] === 1;
      case "number":
        return this.#view.getFloat64(at, true);
      case "bigint":
        return this.#view.getBigInt64(at, true);
      case "string":
        // A copy: a decoder may refuse memory that others can change.
        return decoder.decode(this.#bytes.slice(at, at + length));
      case "bytes":
        return this.#bytes.slice(at, at + length);
    }
  }

  write(call: string, index: number, item: ShareableItem): void {
    const { at, space } = this.#spaceOf(index);
    const type = typeName(item);
    const bytes = typeof item === "string" ? encoder.encode(item) : item instanceof Uint8Array ? item : undefined;
    if (bytes !== undefined && bytes.length > space) {
      throw new RangeError(
        `${call} cannot put ${bytes.length} bytes in place of the item at ${index}: it was made with room for ${space}`,
      );
    }
    if (bytes !== undefined) this.#bytes.set(bytes, at);
    else if (typeof item === "number") this.#view.setFloat64(at, item, true);
    else if (typeof item === "bigint") this.#view.setBigInt64(at, item, true);
    else this.#bytes[at] = item === true ? 1 : 0;
    this.#view.setUint32(HEADER + index * ENTRY + 8, TYPES.indexOf(type), true);
    this.#view.setUint32(HEADER + index * ENTRY + 12, bytes?.length ?? 8, true);
  }

  #spaceOf(index: number): { at: number; space: number } {
    const at = this.#view.getUint32(HEADER + index * ENTRY, true);
    const space = this.#view.getUint32(HEADER + index * ENTRY + 4, true);
    if (space < 8 || at + space > this.#bytes.length) this.#spoiled(index);
    return { at, space };
  }

  #spoiled(index: number): never {
    throw new SharedMemoryError(`The item at ${index} of the list cannot be read: something else was written into it`, {
      code: "ERR_SHARED_MEMORY_FOREIGN",
    });
  }
}

/** A multiple of 8, and at least 8. */
function spaceFor(item: ShareableItem): number {
  typeName(item);
  const length = typeof item === "string" ? encoder.encode(item).length : item instanceof Uint8Array ? item.length : 8;
  return Math.max(8, Math.ceil(length / 8) * 8);
}

function typeName(item: ShareableItem): ItemType {
  if (item === null) return "null";
  if (item instanceof Uint8Array) return "bytes";
  const type = typeof item;
  if (type === "bigint" && BigInt.asIntN(64, item as bigint) !== item)
    throw new RangeError(`A ShareableList holds bigints of 64 bits, not ${String(item)}`);
  if (type === "number" || type === "bigint" || type === "boolean" || type === "string") return type;
  throw new TypeError(`A ShareableList holds numbers, bigints, booleans, strings, bytes and null, not ${String(item)}`);
}
