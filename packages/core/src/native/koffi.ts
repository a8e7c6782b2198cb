/** The port to libc by koffi, an optional dependency that npm installs along unless such are omitted. */
import {
  bindLibc,
  type Call,
  type Kind,
  type Libc,
  type Native,
  type NativeUnavailable,
  type Signature,
} from "./native.ts";

/** The part of koffi that is used, so that this compiles where it is not installed. */
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

/** The port by koffi, or why there is none. */
export function openKoffi(): Native | NativeUnavailable {
  const { createRequire } = process.getBuiltinModule("node:module");
  let koffi: Koffi;
  try {
    // Not imported: it is loaded by those who need it only, and a bundler would look for the binary inside.
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
      message: "Node was started without leave to load add-ons: allow it by --allow-addons",
      cause,
    };
  }
  return { reason: "not-supported", message: `koffi does not load here: ${cause.message}`, cause };
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
