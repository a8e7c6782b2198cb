/** Sleeping on a word of shared memory, and waking those who do; on Linux. For calls that may block their thread. */
import type { Call, Native } from "../native/mod.ts";

const FUTEX_SIGNATURE = ["size", "size", "address", "i32", "i32", "bytes", "address", "i32"] as const;
const SYS_FUTEX: Readonly<Record<string, number>> = { x64: 202, arm64: 98 };
const FUTEX_WAIT = 0;
const FUTEX_WAKE = 1;

/** The system call. */
export class Futex {
  readonly #syscall: Call<typeof FUTEX_SIGNATURE>;
  readonly #syscallNumber: number;
  readonly #timespec = new BigInt64Array(2);

  private constructor(syscall: Call<typeof FUTEX_SIGNATURE>, syscallNumber: number) {
    this.#syscall = syscall;
    this.#syscallNumber = syscallNumber;
  }

  /** The system call, where there is one. */
  static open(native: Native): Futex | undefined {
    const syscallNumber = native.platform === "linux" ? SYS_FUTEX[native.arch] : undefined;
    const syscall = syscallNumber === undefined ? undefined : native.declare("syscall", FUTEX_SIGNATURE);
    return syscall === undefined ? undefined : new Futex(syscall, syscallNumber as number);
  }

  /** Sleeps while the word has that value, and no longer than allowed; may wake for no reason. */
  wait(address: number, value: number, milliseconds: number): void {
    const seconds = Math.floor(milliseconds / 1000);
    this.#timespec[0] = BigInt(seconds);
    this.#timespec[1] = BigInt(Math.floor((milliseconds - seconds * 1000) * 1e6));
    this.#syscall(this.#syscallNumber, address, FUTEX_WAIT, value, this.#timespec, 0, 0);
  }

  /** Wakes up to so many who sleep on the word, and says how many did. */
  wake(address: number, count: number): number {
    return this.#syscall(this.#syscallNumber, address, FUTEX_WAKE, count, null, 0, 0);
  }
}
