import { makeShareable, registerReviver, type SharedHandle } from "@multiproc/core/internal";
import { SharedMemoryError } from "./errors.ts";
import { ItemTable, type ItemType, type ShareableItem } from "./item-table.ts";
import { MODULE } from "./module-id.ts";
import { SharedMemory } from "./shared-memory.ts";

/**
 * How a list is made, or found.
 *
 * @example A list that others find by its name
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
  /** What its memory is called; without one, a new list gets a name that nobody can guess. */
  readonly name?: string | undefined;
}

/**
 * A list of a fixed length whose items processes share: numbers, bigints, booleans, strings, bytes and null.
 *
 * An item can be replaced, also by one of another type, as long as it fits into the space that the first one took: strings and
 * bytes have a multiple of 8 bytes, all others have 8. Nothing locks an item while it is written: where several processes write,
 * or an item takes more than 8 bytes, hold a `Lock`.
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
  /** The memory of the list, which is closed and whose name is freed by its own methods. */
  readonly shm: SharedMemory;
  /** How many items there are. */
  readonly length: number;
  readonly #count: number;

  /**
   * Makes a list, or finds one by its name.
   *
   * @param items what is in it at first; none to find a list that there is
   * @throws {CapabilityError} where memory cannot be shared, and says why
   * @throws {TypeError} for an item of another type
   * @throws {SharedMemoryError} if the name is taken, or there is no list of that name
   */
  constructor(items?: Iterable<ShareableItem>, options: ShareableListOptions = {}) {
    const { name, shm } = options as ShareableListOptions & { shm?: SharedMemory };
    if (shm !== undefined) this.shm = shm;
    else if (items === undefined) this.shm = new SharedMemory({ name });
    else this.shm = createMemory([...items], name);
    this.#count = ItemTable.countIn(this.shm.buf) ?? this.#throwForeign();
    this.length = this.#count;
  }

  /**
   * The item at a place, counted from the end if it is negative.
   *
   * @throws {RangeError} if there is no such place
   * @throws {SharedMemoryError} after `shm.close()`
   */
  get(index: number): ShareableItem {
    return this.#table().read(this.#resolveIndex("get()", index));
  }

  /**
   * Replaces the item at a place.
   *
   * @throws {RangeError} if there is no such place, or the item does not fit there
   * @throws {TypeError} for an item of another type
   * @throws {SharedMemoryError} after `shm.close()`
   */
  set(index: number, item: ShareableItem): void {
    const position = this.#resolveIndex("set()", index);
    this.#table().write("set()", position, item);
  }

  /** How often an item is in the list. */
  count(item: ShareableItem): number {
    let count = 0;
    for (const each of this) if (isSame(each, item)) count += 1;
    return count;
  }

  /**
   * The first place of an item.
   *
   * @throws {RangeError} if it is not in the list
   */
  index(item: ShareableItem): number {
    for (let i = 0; i < this.length; i++) if (isSame(this.get(i), item)) return i;
    throw new RangeError(`index() found no item ${String(item)} in the list`);
  }

  /** The type of each item at this moment. */
  get format(): ItemType[] {
    const table = this.#table();
    return Array.from({ length: this.length }, (_, i) => table.typeOf(i));
  }

  /** The items, one by one. */
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
    throw new RangeError(`${call} takes a place in ${this.length} items, not ${String(index)}`);
  }

  #throwForeign(): never {
    const { name } = this.shm;
    this.shm.close();
    throw new SharedMemoryError(`Shared memory "${name}" is no ShareableList: it was made for something else`, {
      code: "ERR_SHARED_MEMORY_FOREIGN",
    });
  }
}

registerReviver("shared-memory.ShareableList", (shm) => new ShareableList(undefined, { shm } as never));

function createMemory(items: ShareableItem[], name: string | undefined): SharedMemory {
  const shm = new SharedMemory({ name, create: true, size: ItemTable.sizeFor(items) });
  ItemTable.writeAll(shm.buf, items);
  return shm;
}

function isSame(a: ShareableItem, b: ShareableItem): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array)
    return a.length === b.length && a.every((byte, i) => byte === b[i]);
  return Object.is(a, b) || a === b;
}
