/**
 * Memory that several processes read and write at the same time.
 *
 * {@link SharedMemory} is a block of bytes with a name, {@link SharedValue} a number,
 * {@link SharedArray} an array of numbers, and {@link ShareableList} a list of small values. A write
 * in one process is visible in all others at once, on Node and Deno; nothing is copied. An object is
 * given to another process as an argument, or inside any value that is sent. Named memory can also
 * be opened by its name.
 *
 * Memory is freed when the last process that uses it has closed it or ended, even by SIGKILL. It
 * does not need `/dev/shm`. The space is reserved at creation, so running out of memory is an error
 * then, and not a crash later.
 *
 * It works on Linux with access to the C library: on Deno with `--allow-ffi`; on Node by `node:ffi`
 * from 26.1 on, otherwise by koffi, an optional dependency. Elsewhere a `CapabilityError` gives the
 * reason.
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
