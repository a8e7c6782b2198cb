/**
 * The futex system call of Linux: a thread sleeps on a word of shared memory until another thread
 * wakes it.
 *
 * Only synchronous calls use it, because it blocks the thread. Asynchronous waits use a doorbell
 * instead, see `doorbell.ts`.
 */
import { FUTEX_WAIT, FUTEX_WAKE, SYS_FUTEX } from "../native/linux.ts";
import type { Call, Native } from "../native/mod.ts";

const FUTEX_SIGNATURE = ["size", "size", "address", "i32", "i32", "bytes", "address", "i32"] as const;

export class Futex {
  readonly #syscall: Call<typeof FUTEX_SIGNATURE>;
  readonly #syscallNumber: number;
  readonly #timespec = new BigInt64Array(2);

  private constructor(syscall: Call<typeof FUTEX_SIGNATURE>, syscallNumber: number) {
    this.#syscall = syscall;
    this.#syscallNumber = syscallNumber;
  }

  /** Returns the system call; `undefined` where it is not available. */
  static open(native: Native): Futex | undefined {
    const syscallNumber = native.platform === "linux" ? SYS_FUTEX[native.arch] : undefined;
    const syscall = syscallNumber === undefined ? undefined : native.declare("syscall", FUTEX_SIGNATURE);
    return syscall === undefined ? undefined : new Futex(syscall, syscallNumber as number);
  }

  /**
   * Sleeps while the word is `value`, at most `ms` milliseconds. Spurious wake-ups are possible.
   */
  wait(address: number, value: number, ms: number): void {
    const seconds = Math.floor(ms / 1000);
    this.#timespec[0] = BigInt(seconds);
    this.#timespec[1] = BigInt(Math.floor((ms - seconds * 1000) * 1e6));
    this.#syscall(this.#syscallNumber, address, FUTEX_WAIT, value, this.#timespec, 0, 0);
  }

  /** Wakes up to `count` threads that sleep on the word, and returns how many it woke. */
  wake(address: number, count: number): number {
    return this.#syscall(this.#syscallNumber, address, FUTEX_WAKE, count, null, 0, 0);
  }
}
