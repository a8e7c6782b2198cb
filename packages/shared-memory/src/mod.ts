/**
 * Memory that any number of processes work on at once.
 *
 * {@link SharedMemory} is a block of bytes with a name, {@link SharedValue} a number, {@link SharedArray} an array of numbers, and
 * {@link ShareableList} a list of small values. What one process writes is there at once in all others, on Node and Deno; nothing
 * is copied. Each is given to other processes as an argument, or inside any value that is sent; memory with a name is also
 * found by it.
 *
 * Memory is freed when the last process that has it has closed it or ended, however it ended. There is no `/dev/shm` needed, and
 * what the system has not is refused when it is asked for. It takes Linux, and a way to its C library: on Deno
 * `--allow-ffi`; Node reaches it by `node:ffi` from 26.1 on, else by koffi, which npm installs along unless optional dependencies
 * are omitted. Where that is missing, a `CapabilityError` says so.
 *
 * @module
 */

export type { ArrayOf, AtomicType, ElementOf, ElementType } from "./element-type.ts";
export { SharedMemoryError } from "./errors.ts";
export type { ItemType, ShareableItem } from "./item-table.ts";
export { ShareableList, type ShareableListOptions } from "./shareable-list.ts";
export { SharedArray } from "./shared-array.ts";
export { SharedMemory, type SharedMemoryOptions } from "./shared-memory.ts";
export { SharedValue } from "./shared-value.ts";
export type { LockOptions } from "./typed-cells.ts";
