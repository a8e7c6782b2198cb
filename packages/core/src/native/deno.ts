/** The port to libc on Deno: `Deno.dlopen`, which needs `--allow-ffi` without a path. */
import {
  bindLibc,
  type Call,
  is64Bit,
  type Kind,
  LIBC,
  type Libc,
  type Native,
  type NativeUnavailable,
  type Signature,
} from "./native.ts";

/** The part of Deno's API that is used, so that this file compiles without Deno's types. */
interface DenoFfi {
  readonly build: { readonly os: string; readonly arch: string };
  readonly UnsafePointerView: (new (
    pointer: object,
  ) => { getInt32(): number }) & { getArrayBuffer(pointer: object, size: number): ArrayBuffer };
  readonly UnsafePointer: { create(address: bigint): object | null };
  dlopen(
    path: string,
    symbols: Record<string, { parameters: string[]; result: string; optional: true }>,
  ): { symbols: Record<string, ((...args: unknown[]) => unknown) | null> };
}

const TYPES: Record<Kind, string> = {
  void: "void",
  i32: "i32",
  u32: "u32",
  size: "i64",
  address: "usize",
  bytes: "buffer",
  text: "buffer",
};
const ARCHITECTURES: Readonly<Record<string, string>> = { x86_64: "x64", aarch64: "arm64" };
const LIBRARIES: Readonly<Record<string, { path: string; errno: string }>> = {
  linux: { path: "libc.so.6", errno: "__errno_location" },
  darwin: { path: "libSystem.dylib", errno: "__error" },
};

/** Opens the port by `Deno.dlopen`; returns the reason if that fails. */
export function openOnDeno(): Native | NativeUnavailable {
  const deno = (globalThis as unknown as { Deno: DenoFfi }).Deno;
  const library = LIBRARIES[deno.build.os];
  if (library === undefined)
    return {
      reason: "not-supported",
      message: `The C library cannot be called on ${deno.build.os}: only on Linux and macOS`,
    };
  try {
    return new DenoNative(deno, library.path, library.errno);
  } catch (cause) {
    if ((cause as Error).name === "NotCapable") {
      return {
        reason: "not-permitted",
        message: "Deno may not call the C library: run it with --allow-ffi",
        cause,
      };
    }
    return { reason: "not-supported", message: `Deno cannot open the C library: ${(cause as Error).message}`, cause };
  }
}

class DenoNative implements Native {
  readonly libc: Libc;
  readonly platform: string;
  readonly arch: string;
  readonly #path: string;
  readonly #deno: DenoFfi;
  readonly #errno: { getInt32(): number };

  constructor(deno: DenoFfi, path: string, errno: string) {
    this.#deno = deno;
    this.#path = path;
    this.platform = deno.build.os;
    this.arch = ARCHITECTURES[deno.build.arch] ?? deno.build.arch;
    const { symbols } = deno.dlopen(path, {
      ...definitions(LIBC),
      [errno]: { parameters: [], result: "pointer", optional: true },
    });
    // The address of errno is constant for a thread.
    this.#errno = new deno.UnsafePointerView(symbols[errno]?.() as object);
    this.libc = bindLibc((name, signature) => {
      const call = symbols[name];
      return call && adapt(call, signature);
    });
  }

  errno(): number {
    return this.#errno.getInt32();
  }

  /** Deno does not reveal the addresses of symbols. */
  symbol(): undefined {
    return undefined;
  }

  declare<const S extends Signature>(name: string, signature: S): Call<S> | undefined {
    const call = this.#deno.dlopen(this.#path, definitions({ [name]: signature })).symbols[name];
    return call ? (adapt(call, signature) as Call<S>) : undefined;
  }

  view(address: number, size: number): ArrayBuffer {
    const pointer = this.#deno.UnsafePointer.create(BigInt(address)) as object;
    return this.#deno.UnsafePointerView.getArrayBuffer(pointer, size);
  }
}

function definitions(
  table: Readonly<Record<string, Signature>>,
): Record<string, { parameters: string[]; result: string; optional: true }> {
  return Object.fromEntries(
    Object.entries(table).map(([name, [result, ...parameters]]) => [
      name,
      { parameters: parameters.map((kind) => TYPES[kind]), result: TYPES[result], optional: true },
    ]),
  );
}

/**
 * Converts the bigints that Deno returns for 64-bit results to numbers, and strings, which Deno
 * does not accept, to bytes.
 */
function adapt(call: (...args: unknown[]) => unknown, [result, ...parameters]: Signature): unknown {
  const hasText = parameters.includes("text");
  if (!is64Bit(result) && !hasText) return call;
  return (...args: unknown[]) => {
    const value = call(...args.map((arg) => (typeof arg === "string" ? new TextEncoder().encode(`${arg}\0`) : arg)));
    return is64Bit(result) ? Number(value) : value;
  };
}
