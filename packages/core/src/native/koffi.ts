/**
 * The port to libc by koffi, an optional dependency that npm installs unless optional packages are
 * omitted.
 */
import {
  bindLibc,
  type Call,
  type Kind,
  type Libc,
  type Native,
  type NativeUnavailable,
  type Signature,
} from "./native.ts";

/** The part of koffi that is used, so that this file compiles without koffi. */
interface Koffi {
  load(path: null): KoffiLibrary;
  errno(): number;
  view(address: number, size: number): ArrayBuffer;
}

interface KoffiLibrary {
  func(name: string, result: string, parameters: string[]): unknown;
  symbol(name: string): bigint;
}

const TYPES: Record<Kind, string> = {
  void: "void",
  i32: "int",
  u32: "uint",
  size: "int64_t",
  address: "uintptr_t",
  bytes: "void *",
  text: "const char *",
};

/** Opens the port by koffi; returns the reason if that fails. */
export function openKoffi(): Native | NativeUnavailable {
  const { createRequire } = process.getBuiltinModule("node:module");
  let koffi: Koffi;
  try {
    // Not an import: few processes need koffi, and a bundler would try to bundle its binary.
    koffi = createRequire(import.meta.url)("koffi") as Koffi;
  } catch (cause) {
    return toUnavailable(cause as NodeJS.ErrnoException);
  }
  try {
    return new KoffiNative(koffi, koffi.load(null));
  } catch (cause) {
    return { reason: "not-supported", message: `koffi cannot open the C library: ${(cause as Error).message}`, cause };
  }
}

function toUnavailable(cause: NodeJS.ErrnoException): NativeUnavailable {
  if (cause.code === "MODULE_NOT_FOUND") {
    return { reason: "not-installed", message: 'The package "koffi" is not installed: npm install koffi', cause };
  }
  if (cause.code === "ERR_DLOPEN_DISABLED" || cause.code === "ERR_ACCESS_DENIED") {
    return {
      reason: "not-permitted",
      message: "Node may not load add-ons, such as koffi: run it with --allow-addons",
      cause,
    };
  }
  return { reason: "not-supported", message: `koffi cannot be loaded: ${cause.message}`, cause };
}

class KoffiNative implements Native {
  readonly platform = process.platform;
  readonly arch = process.arch;
  readonly libc: Libc;
  readonly errno: () => number;
  readonly view: (address: number, size: number) => ArrayBuffer;
  readonly #library: KoffiLibrary;

  constructor(koffi: Koffi, library: KoffiLibrary) {
    this.#library = library;
    this.view = koffi.view;
    this.errno = koffi.errno;
    this.libc = bindLibc((name, signature) => this.declare(name, signature));
  }

  symbol(name: string): number | undefined {
    try {
      return Number(this.#library.symbol(name));
    } catch {
      return undefined;
    }
  }

  declare<const S extends Signature>(name: string, [result, ...parameters]: S): Call<S> | undefined {
    if (this.symbol(name) === undefined) return undefined;
    return this.#library.func(
      name,
      TYPES[result],
      parameters.map((kind) => TYPES[kind]),
    ) as Call<S>;
  }
}
