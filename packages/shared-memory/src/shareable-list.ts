import {
  checkOptions,
  describeValue,
  makeShareable,
  registerReviver,
  type SharedHandle,
} from "@multiproc/core/internal";
import { SharedMemoryError } from "./errors.ts";
import { ItemTable, type ItemType, type ShareableItem } from "./item-table.ts";
import { MODULE } from "./module-id.ts";
import { Received } from "./received.ts";
import { SharedMemory } from "./shared-memory.ts";

/**
 * Options of {@link ShareableList}.
 *
 * @example A list that other processes open by its name
 * ```ts
 * import { ShareableList, type ShareableListOptions } from "@multiproc/shared-memory";
 *
 * const options: ShareableListOptions = { name: "my-settings-list" };
 * const list = new ShareableList(["dark", 12], options);
 * const same = new ShareableList(undefined, options);
 * console.log(same.get(0)); // dark
 * same.shm.close();
 * list.shm.close();
 * ```
 */
export interface ShareableListOptions {
  /** The name of the list's memory. @default a random name for a new list */
  readonly name?: string | undefined;
}

const OPTIONS = ["name"];

/**
 * A list of fixed length that processes share. Its items are numbers, bigints, booleans, strings,
 * bytes and null.
 *
 * The first item at an index reserves its space: its bytes rounded up to a multiple of 8 for strings
 * and bytes, 8 for all others. Any item that fits can replace it. Writes are not atomic. Hold a `Lock` if several
 * processes write, or if an item takes more than 8 bytes.
 *
 * @example
 * ```ts
 * // file: tasks.ts
 * import { task } from "@multiproc/core";
 * import type { ShareableList } from "@multiproc/shared-memory";
 *
 * export const change = task(import.meta.url, function change(list: ShareableList) {
 *   list.set(0, "shared");
 *   list.set(-1, true);
 * });
 * // file: main.ts
 * import { Process } from "@multiproc/process";
 * import { ShareableList } from "@multiproc/shared-memory";
 * import { change } from "./tasks.ts";
 *
 * const list = new ShareableList(["text", 42, null]);
 * const child = new Process({ target: change, args: [list] });
 * await child.start();
 * await child.join();
 * console.log([...list]); // [ "shared", 42, true ]
 * list.shm.close();
 * ```
 */
export class ShareableList implements Iterable<ShareableItem> {
  /** The memory of the list. Its `close()` and `unlink()` close the list and remove its name. */
  readonly shm: SharedMemory;
  /** The number of items. */
  readonly length: number;
  readonly #count: number;

  /**
   * Creates a list, or opens one by its name.
   *
   * @param items the first items; leave them out to open a list that exists
   * @throws {CapabilityError} where processes cannot share memory, with the reason
   * @throws {TypeError} for an item of another type, and for an unknown option
   * @throws {SharedMemoryError} if the name is taken, or no list has this name
   */
  constructor(items?: Iterable<ShareableItem>, options: ShareableListOptions = {}) {
    if (options instanceof Received) this.shm = options.handle as SharedMemory;
    else {
      checkOptions("new ShareableList()", options, OPTIONS);
      this.shm = items === undefined ? openMemory(options.name) : createMemory(items, options.name);
    }
    this.#count = ItemTable.countIn(this.shm.buf) ?? this.#throwForeign();
    this.length = this.#count;
  }

  /**
   * Returns the item at an index. Negative indexes count from the end.
   *
   * @throws {RangeError} if the index is out of range
   * @throws {SharedMemoryError} after `shm.close()`
   */
  get(index: number): ShareableItem {
    return this.#table().read(this.#resolveIndex("get()", index));
  }

  /**
   * Replaces the item at an index.
   *
   * @throws {RangeError} if the index is out of range, or the item does not fit
   * @throws {TypeError} for an item of another type
   * @throws {SharedMemoryError} after `shm.close()`
   */
  set(index: number, item: ShareableItem): void {
    const position = this.#resolveIndex("set()", index);
    this.#table().write("set()", position, item);
  }

  /** Returns how often an item occurs in the list. */
  count(item: ShareableItem): number {
    let count = 0;
    for (const each of this) if (isSame(each, item)) count += 1;
    return count;
  }

  /**
   * Returns the first index of an item.
   *
   * @throws {RangeError} if the list does not hold it
   */
  index(item: ShareableItem): number {
    for (let i = 0; i < this.length; i++) if (isSame(this.get(i), item)) return i;
    throw new RangeError(`index() did not find ${String(item)} in the list: check with count() first`);
  }

  /** The current type of each item. */
  get format(): ItemType[] {
    const table = this.#table();
    return Array.from({ length: this.length }, (_, i) => table.typeOf(i));
  }

  /** Iterates over the items. */
  *[Symbol.iterator](): Iterator<ShareableItem> {
    for (let i = 0; i < this.length; i++) yield this.get(i);
  }

  static {
    makeShareable(this, (list) => list.#toHandle());
  }

  #toHandle(): SharedHandle {
    return { kind: "shared-memory.ShareableList", module: MODULE, data: this.shm };
  }

  #table(): ItemTable {
    return new ItemTable(this.shm.buf);
  }

  #resolveIndex(call: string, index: number): number {
    const position = index < 0 ? this.length + index : index;
    if (Number.isInteger(index) && position >= 0 && position < this.length) return position;
    throw new RangeError(`${call} takes an index from ${-this.length} to ${this.length - 1}, not ${String(index)}`);
  }

  #throwForeign(): never {
    const { name } = this.shm;
    this.shm.close();
    throw new SharedMemoryError(
      `new ShareableList() cannot open "${name}", which is not a ShareableList: choose another name`,
      {
        code: "ERR_SHARED_MEMORY_FOREIGN",
      },
    );
  }
}

registerReviver("shared-memory.ShareableList", (shm) => new ShareableList(undefined, new Received(shm) as never));

function openMemory(name: string | undefined): SharedMemory {
  if (name !== undefined) return new SharedMemory({ name });
  throw new TypeError("new ShareableList() takes items to create a list, or a name to open one");
}

function createMemory(iterable: Iterable<ShareableItem>, name: string | undefined): SharedMemory {
  if (typeof iterable?.[Symbol.iterator] !== "function")
    throw new TypeError(`new ShareableList() takes its items as an iterable, not ${describeValue(iterable)}`);
  const items = [...iterable];
  const shm = new SharedMemory({ name, create: true, size: ItemTable.sizeFor(items) });
  ItemTable.writeAll(shm.buf, items);
  return shm;
}

function isSame(a: ShareableItem, b: ShareableItem): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array)
    return a.length === b.length && a.every((byte, i) => byte === b[i]);
  return Object.is(a, b) || a === b;
}
