/** Sleeping on a word of shared memory, and waking those who do; on Linux. For calls that may block their thread. */
import type { Call, Native } from "../native/mod.ts";

const SIGNATURE = ["size", "size", "address", "i32", "i32", "bytes", "address", "i32"] as const;
const NUMBERS: Readonly<Record<string, number>> = { x64: 202, arm64: 98 };
const WAIT = 0;
const WAKE = 1;

/** The system call. */
export class Futex {
  readonly #call: Call<typeof SIGNATURE>;
  readonly #number: number;
  readonly #duration = new BigInt64Array(2);

  private constructor(call: Call<typeof SIGNATURE>, number: number) {
    this.#call = call;
    this.#number = number;
  }

  /** The system call, where there is one. */
  static open(native: Native): Futex | undefined {
    const number = native.platform === "linux" ? NUMBERS[native.arch] : undefined;
    const call = number === undefined ? undefined : native.declare("syscall", SIGNATURE);
    return call === undefined ? undefined : new Futex(call, number as number);
  }

  /** Sleeps while the word has that value, and no longer than allowed; may wake for no reason. */
  wait(address: number, value: number, milliseconds: number): void {
    const whole = Math.floor(milliseconds / 1000);
    this.#duration[0] = BigInt(whole);
    this.#duration[1] = BigInt(Math.floor((milliseconds - whole * 1000) * 1e6));
    this.#call(this.#number, address, WAIT, value, this.#duration, 0, 0);
  }

  /** Wakes up to so many who sleep on the word, and says how many did. */
  wake(address: number, count: number): number {
    return this.#call(this.#number, address, WAKE, count, null, 0, 0);
  }
}
