/** The port to libc by `node:ffi`, which Node has built in from 26.1 on. */
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

/** The part of `node:ffi` that is used; the types of older Nodes do not have it. */
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

/** The port by `node:ffi`, or why there is none. */
export function openNodeFfi(ffi: NodeFfi): Native | NativeUnavailable {
  try {
    return new NodeFfiNative(ffi);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ERR_ACCESS_DENIED") {
      const message = "Node was started without leave to call the C library: allow it by --allow-ffi";
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
  /** A place in this thread's memory, the same for each call. */
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
    // A library gives a function one signature, and this may be another than that of `libc`.
    return this.#find(new this.#ffi.DynamicLibrary(null), name, signature) as Call<S> | undefined;
  }

  #find(library: Library, name: string, signature: Signature): unknown {
    if (this.symbol(name) === undefined) return undefined;
    const [result, ...parameters] = signature;
    const types = { return: TYPES[result], arguments: parameters.map((kind) => TYPES[kind]) };
    return adapt(library.getFunction(name, types), signature);
  }
}

/** `node:ffi` has bigints where 64 bits cross, both ways. */
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
