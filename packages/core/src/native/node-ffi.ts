/** The port to libc by `node:ffi`, which is built into Node 26.1 and newer. */
import {
  bindLibc,
  type Call,
  is64Bit,
  type Kind,
  type Libc,
  type Native,
  type NativeUnavailable,
  type Signature,
} from "./native.ts";

/** The part of `node:ffi` that is used. The types of older Nodes lack it. */
export interface NodeFfi {
  readonly DynamicLibrary: new (path: null) => Library;
  getInt32(address: bigint): number;
  toArrayBuffer(address: bigint, size: number, copy: boolean): ArrayBuffer;
}

interface Library {
  getSymbol(name: string): bigint;
  getFunction(name: string, signature: { return: string; arguments: string[] }): (...args: unknown[]) => unknown;
}

const TYPES: Record<Kind, string> = {
  void: "void",
  i32: "int32",
  u32: "uint32",
  size: "int64",
  address: "uint64",
  bytes: "pointer",
  text: "string",
};

/** Opens the port by `node:ffi`; returns the reason if that fails. */
export function openNodeFfi(ffi: NodeFfi): Native | NativeUnavailable {
  try {
    return new NodeFfiNative(ffi);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ERR_ACCESS_DENIED") {
      const message = "Node may not call the C library: run it with --allow-ffi";
      return { reason: "not-permitted", message, cause };
    }
    return { reason: "not-supported", message: `Node cannot open the C library: ${(cause as Error).message}`, cause };
  }
}

class NodeFfiNative implements Native {
  readonly platform = process.platform;
  readonly arch = process.arch;
  readonly libc: Libc;
  readonly #ffi: NodeFfi;
  readonly #library: Library;
  /** The address of errno, which is constant for a thread. */
  readonly #errno: bigint;

  constructor(ffi: NodeFfi) {
    this.#ffi = ffi;
    this.#library = new ffi.DynamicLibrary(null);
    const errno = process.platform === "darwin" ? "__error" : "__errno_location";
    this.#errno = this.#library.getFunction(errno, { return: "pointer", arguments: [] })() as bigint;
    this.libc = bindLibc((name, signature) => this.#find(this.#library, name, signature));
  }

  readonly errno = (): number => this.#ffi.getInt32(this.#errno);

  readonly view = (address: number, size: number): ArrayBuffer => this.#ffi.toArrayBuffer(BigInt(address), size, false);

  symbol(name: string): number | undefined {
    try {
      return Number(this.#library.getSymbol(name));
    } catch {
      return undefined;
    }
  }

  declare<const S extends Signature>(name: string, signature: S): Call<S> | undefined {
    // A library object binds a function with one signature only, and `libc` may use another one.
    return this.#find(new this.#ffi.DynamicLibrary(null), name, signature) as Call<S> | undefined;
  }

  #find(library: Library, name: string, signature: Signature): unknown {
    if (this.symbol(name) === undefined) return undefined;
    const [result, ...parameters] = signature;
    const types = { return: TYPES[result], arguments: parameters.map((kind) => TYPES[kind]) };
    return adapt(library.getFunction(name, types), signature);
  }
}

/**
 * Converts between the numbers of this port and the bigints that `node:ffi` uses for 64-bit values.
 */
function adapt(call: (...args: unknown[]) => unknown, [result, ...parameters]: Signature): unknown {
  if (!is64Bit(result) && !parameters.some(is64Bit)) return call;
  return (...args: unknown[]) => {
    for (let i = 0; i < parameters.length; i++) {
      if (is64Bit(parameters[i] as Kind)) args[i] = BigInt(args[i] as number);
    }
    const value = call(...args);
    return is64Bit(result) ? Number(value) : value;
  };
}
