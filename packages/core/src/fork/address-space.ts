/**
 * What of this process's memory a child gets.
 *
 * V8 marks the pages of its heap MADV_DONTFORK, so that a child would be without them. MADV_DOFORK takes that back, and one
 * call over the whole user address space does it for all mappings at once: the kernel skips the holes, applies the advice
 * to every mapping in the range, and only then returns ENOMEM because of the holes (mm/madvise.c, `madvise_walk_vmas`).
 * Reading `/proc/self/maps` first would take 600 µs in place of 14, in which V8's threads could map more.
 */

import { ENOMEM, MADV_DOFORK } from "../native/linux.ts";
import type { Native } from "../native/native.ts";
import { type ForkRefusal, refusal } from "./fork-refusal.ts";

const fs = process.getBuiltinModule("node:fs");

/** Mappings for which the advice is EINVAL, and the walk ends: memory that the kernel or a device provides. */
const SPECIAL_MAPPING = /^\[(vvar|vdso)|io_uring|^\/dev\//;
/** The first 64 KiB can never be mapped, and pages are no larger than that. */
const LOWEST_ADDRESS = 0x10000;
/** `[vsyscall]` lies above all user addresses. */
const USER_SPACE_END = 2 ** 52;

/** The memory of this process. */
export class AddressSpace {
  readonly #native: Native;
  readonly #statm: Uint8Array = new Uint8Array(128);
  /** Start and length by turns, around the special mappings. */
  #ranges: number[] = [];
  #statmFd: number | undefined;

  constructor(native: Native) {
    this.#native = native;
  }

  /** Finds the special mappings, which are there from the start of a process, and tries the advice. */
  survey(): ForkRefusal | undefined {
    const { libc, errno } = this.#native;
    this.#ranges = inheritableRanges(fs.readFileSync("/proc/self/maps", "latin1"));
    for (let i = 0; i < this.#ranges.length; i += 2) {
      if (libc.madvise(this.#ranges[i] as number, this.#ranges[i + 1] as number, MADV_DOFORK) === 0) continue;
      const code = errno();
      if (code !== ENOMEM) return refusal("proc", `the memory cannot be marked for a child (errno ${code})`);
    }
    return undefined;
  }

  /** Has a child inherit all that is mapped now. */
  markForChild(): void {
    const { madvise } = this.#native.libc;
    const ranges = this.#ranges;
    for (let i = 0; i < ranges.length; i += 2) madvise(ranges[i] as number, ranges[i + 1] as number, MADV_DOFORK);
  }

  /** How many pages are mapped: unchanged since the marking means that nothing is missing in the child. */
  pageCount(): number {
    this.#statmFd ??= fs.openSync("/proc/self/statm", "r");
    const length = fs.readSync(this.#statmFd, this.#statm, 0, this.#statm.length, 0);
    let pages = 0;
    for (let i = 0; i < length && this.#statm[i] !== 0x20; i++) pages = pages * 10 + (this.#statm[i] as number) - 0x30;
    return pages;
  }

  /** In a child: what is open tells of the parent's memory. */
  reset(): void {
    if (this.#statmFd !== undefined) fs.closeSync(this.#statmFd);
    this.#statmFd = undefined;
  }
}

/** The ranges between the special mappings. */
function inheritableRanges(maps: string): number[] {
  const ranges: number[] = [];
  let low = LOWEST_ADDRESS;
  let high = 0;
  for (const line of maps.split("\n")) {
    const [, start, end, name] = /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ *(.*)$/.exec(line) ?? [];
    if (start === undefined || Number.parseInt(start, 16) >= USER_SPACE_END) continue;
    high = Number.parseInt(end as string, 16);
    if (!SPECIAL_MAPPING.test(name as string)) continue;
    const from = Number.parseInt(start, 16);
    if (from > low) ranges.push(low, from - low);
    low = high;
  }
  if (high > low) ranges.push(low, high - low);
  return ranges;
}

/** Reads this process's memory where it may not be mapped: the kernel answers EIO, where a plain read would be the end. */
export function peek(address: number, length: number): DataView | undefined {
  const bytes = new Uint8Array(length);
  const fd = fs.openSync("/proc/self/mem", "r");
  try {
    return fs.readSync(fd, bytes, 0, length, address) === length ? new DataView(bytes.buffer) : undefined;
  } catch {
    return undefined;
  } finally {
    fs.closeSync(fd);
  }
}
