/**
 * Makes sure that a child inherits all memory of this process.
 *
 * V8 marks the pages of its heap MADV_DONTFORK, so that a child would lack them. MADV_DOFORK
 * reverts that. One call over the whole user address space covers all mappings. The kernel applies
 * the advice to every mapping in the range, and only then returns ENOMEM because of the holes
 * (mm/madvise.c, `madvise_walk_vmas`). That takes 14 µs. Reading `/proc/self/maps` before each fork
 * would take 600 µs, during which V8's threads could map more memory.
 */

import { type ForkRefusal, refusal } from "../host/fork-refusal.ts";
import { ENOMEM, MADV_DOFORK } from "../native/linux.ts";
import type { Native } from "../native/native.ts";

const fs = process.getBuiltinModule("node:fs");

/**
 * *Special mappings*: those of the kernel or of a device. The advice fails there with EINVAL, and
 * the kernel skips the rest of the range.
 */
const SPECIAL_MAPPING = /^\[(vvar|vdso)|io_uring|^\/dev\//;
/** The first 64 KiB are never mapped, and 64 KiB is the largest page size. */
const LOWEST_ADDRESS = 0x10000;
/** The end of all user addresses. `[vsyscall]` lies above it. */
const USER_SPACE_END = 2 ** 52;

/** The memory of this process. */
export class AddressSpace {
  readonly #native: Native;
  readonly #statm: Uint8Array = new Uint8Array(128);
  /** Starts and lengths, alternating, of the ranges between the special mappings. */
  #ranges: number[] = [];
  #statmFd: number | undefined;

  constructor(native: Native) {
    this.#native = native;
  }

  /** Finds the special mappings, which exist from the start of a process, and tries the advice. */
  survey(): ForkRefusal | undefined {
    const { libc, errno } = this.#native;
    this.#ranges = inheritableRanges(fs.readFileSync("/proc/self/maps", "latin1"));
    for (let i = 0; i < this.#ranges.length; i += 2) {
      if (libc.madvise(this.#ranges[i] as number, this.#ranges[i + 1] as number, MADV_DOFORK) === 0) continue;
      const code = errno();
      if (code !== ENOMEM) return refusal("proc", `madvise(MADV_DOFORK) fails with errno ${code}`);
    }
    return undefined;
  }

  /** Marks all current mappings to be inherited by a child. */
  markForChild(): void {
    const { madvise } = this.#native.libc;
    const ranges = this.#ranges;
    for (let i = 0; i < ranges.length; i += 2) madvise(ranges[i] as number, ranges[i + 1] as number, MADV_DOFORK);
  }

  /**
   * Returns the number of mapped pages. If it has not changed since the marking, the child has all
   * memory.
   */
  pageCount(): number {
    this.#statmFd ??= fs.openSync("/proc/self/statm", "r");
    const length = fs.readSync(this.#statmFd, this.#statm, 0, this.#statm.length, 0);
    let pages = 0;
    for (let i = 0; i < length && this.#statm[i] !== 0x20; i++) pages = pages * 10 + (this.#statm[i] as number) - 0x30;
    return pages;
  }

  /** In a child: closes the inherited file, which describes the parent's memory. */
  reset(): void {
    if (this.#statmFd !== undefined) fs.closeSync(this.#statmFd);
    this.#statmFd = undefined;
  }
}

/** Returns the ranges between the special mappings. */
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

/**
 * Reads memory of this process that may be unmapped. The kernel then returns EIO, where a direct
 * read would crash. Returns undefined in that case.
 */
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
