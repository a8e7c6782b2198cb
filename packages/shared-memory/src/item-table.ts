/**
 * The layout of a `ShareableList` in memory. Each item has an entry of fixed size, and a space of its own.
 *
 * ```text
 *   0  magic        4  count
 *   8  the entries: offset of the space, its capacity, type, bytes in use; 4 bytes each
 *   …  the spaces, each at a multiple of 8
 * ```
 *
 * Any process that can open the memory can write to it, so this class checks each entry before it uses it.
 */
import { describeValue } from "@multiproc/core/internal";
import { SharedMemoryError } from "./errors.ts";

/** The value of an item. */
export type ShareableItem = number | bigint | boolean | string | Uint8Array | null;
/** The name of an item's type. */
export type ItemType = "null" | "boolean" | "number" | "bigint" | "string" | "bytes";

const TYPES: readonly ItemType[] = ["null", "boolean", "number", "bigint", "string", "bytes"];
const MAGIC = 0x4d504c31;
const HEADER_BYTES = 8;
const ENTRY_BYTES = 16;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

export class ItemTable {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Returns the number of items in memory, or undefined if the memory does not hold a list. */
  static countIn(bytes: Uint8Array): number | undefined {
    if (bytes.length < HEADER_BYTES) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const count = view.getUint32(4, true);
    return view.getUint32(0, true) === MAGIC && HEADER_BYTES + count * ENTRY_BYTES <= bytes.length ? count : undefined;
  }

  /** Returns the bytes that the items need. */
  static sizeFor(items: readonly ShareableItem[]): number {
    return items.reduce<number>((size, item) => size + ENTRY_BYTES + capacityFor(item), HEADER_BYTES);
  }

  /** Writes all items into new memory. The magic is written last, because it marks the list as valid. */
  static writeAll(bytes: Uint8Array, items: readonly ShareableItem[]): void {
    const table = new ItemTable(bytes);
    let offset = HEADER_BYTES + items.length * ENTRY_BYTES;
    items.forEach((item, i) => {
      const capacity = capacityFor(item);
      table.#view.setUint32(HEADER_BYTES + i * ENTRY_BYTES, offset, true);
      table.#view.setUint32(HEADER_BYTES + i * ENTRY_BYTES + 4, capacity, true);
      table.write("new ShareableList()", i, item);
      offset += capacity;
    });
    table.#view.setUint32(4, items.length, true);
    table.#view.setUint32(0, MAGIC, true);
  }

  typeOf(index: number): ItemType {
    const type = TYPES[this.#view.getUint32(HEADER_BYTES + index * ENTRY_BYTES + 8, true)];
    return type ?? this.#corrupted(index);
  }

  read(index: number): ShareableItem {
    const { offset, capacity } = this.#slotOf(index);
    const length = this.#view.getUint32(HEADER_BYTES + index * ENTRY_BYTES + 12, true);
    if (length > capacity) this.#corrupted(index);
    switch (this.typeOf(index)) {
      case "null":
        return null;
      case "boolean":
        return this.#bytes[offset] === 1;
      case "number":
        return this.#view.getFloat64(offset, true);
      case "bigint":
        return this.#view.getBigInt64(offset, true);
      case "string":
        // Copied, because a TextDecoder may refuse shared memory.
        return decoder.decode(this.#bytes.slice(offset, offset + length));
      case "bytes":
        return this.#bytes.slice(offset, offset + length);
    }
  }

  write(call: string, index: number, item: ShareableItem): void {
    const { offset, capacity } = this.#slotOf(index);
    const type = typeName(item);
    const bytes = typeof item === "string" ? encoder.encode(item) : item instanceof Uint8Array ? item : undefined;
    if (bytes !== undefined && bytes.length > capacity) {
      throw new RangeError(
        `${call} cannot store ${bytes.length} bytes at ${index}: the first item there has reserved ${capacity} bytes`,
      );
    }
    if (bytes !== undefined) this.#bytes.set(bytes, offset);
    else if (typeof item === "number") this.#view.setFloat64(offset, item, true);
    else if (typeof item === "bigint") this.#view.setBigInt64(offset, item, true);
    else this.#bytes[offset] = item === true ? 1 : 0;
    this.#view.setUint32(HEADER_BYTES + index * ENTRY_BYTES + 8, TYPES.indexOf(type), true);
    this.#view.setUint32(HEADER_BYTES + index * ENTRY_BYTES + 12, bytes?.length ?? 8, true);
  }

  #slotOf(index: number): { offset: number; capacity: number } {
    const offset = this.#view.getUint32(HEADER_BYTES + index * ENTRY_BYTES, true);
    const capacity = this.#view.getUint32(HEADER_BYTES + index * ENTRY_BYTES + 4, true);
    if (capacity < 8 || offset + capacity > this.#bytes.length) this.#corrupted(index);
    return { offset, capacity };
  }

  #corrupted(index: number): never {
    throw new SharedMemoryError(
      `The item at ${index} of the ShareableList is corrupted: another process has overwritten its memory`,
      {
        code: "ERR_SHARED_MEMORY_FOREIGN",
      },
    );
  }
}

/** Returns the bytes that an item reserves: a multiple of 8, and at least 8. */
function capacityFor(item: ShareableItem): number {
  typeName(item);
  const length = typeof item === "string" ? encoder.encode(item).length : item instanceof Uint8Array ? item.length : 8;
  return Math.max(8, Math.ceil(length / 8) * 8);
}

function typeName(item: ShareableItem): ItemType {
  if (item === null) return "null";
  if (item instanceof Uint8Array) return "bytes";
  const type = typeof item;
  if (type === "bigint" && BigInt.asIntN(64, item as bigint) !== item)
    throw new RangeError(`A ShareableList stores bigints of 64 bits, not ${String(item)}`);
  if (type === "number" || type === "bigint" || type === "boolean" || type === "string") return type;
  throw new TypeError(
    `A ShareableList stores numbers, bigints, booleans, strings, bytes and null, not ${describeValue(item)}`,
  );
}
