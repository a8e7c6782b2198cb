/**
 * Gives V8 in a child worker threads of its own.
 *
 * `fork()` copies one thread. V8 in the child would wait forever for its worker threads: in the
 * first garbage collection, for the first optimized function or the first compiled wasm. Every Node
 * exports `node::MultiIsolatePlatform::Create()`, which creates a new platform with running
 * threads. The child copies the task runner of the new platform, one `shared_ptr`, over that of
 * V8's own platform.
 *
 * This file finds the addresses of both, and proves them before a child writes there. `make_shared`
 * created the runner, so its pointer points 16 bytes behind its control block. The control block
 * starts with the address of a virtual table, whose symbol names the class. Exactly one object to
 * which `node::per_process::v8_platform` points must contain exactly one such pair. Otherwise the
 * fork is refused.
 */

import { type ForkRefusal, refusal } from "../host/fork-refusal.ts";
import type { Call, Native } from "../native/native.ts";
import { peek } from "./address-space.ts";

/** The parts of Node's platform that a fork needs. */
export interface Platform {
  /** The address of the `shared_ptr` to the task runner. */
  readonly runnerAddress: number;
  /** The offset of the `shared_ptr` in a platform. */
  readonly runnerOffset: number;
  readonly tracingController: number;
  /** Creates a platform and writes its address to the first argument. */
  readonly create: Call<readonly ["address", "bytes", "i32", "address", "address"]>;
}

const PLATFORM_SYMBOL = "_ZN4node11per_process11v8_platformE";
const GET_TRACING_CONTROLLER_SYMBOL = "_ZN4node12NodePlatform20GetTracingControllerEv";
const CREATE_PLATFORM_SYMBOL = "_ZN4node20MultiIsolatePlatform6CreateEiPN2v817TracingControllerEPNS1_13PageAllocatorE";
/**
 * The virtual table of `_Sp_counted_ptr_inplace<WorkerThreadsTaskRunner, …>`, as Node 24 and newer,
 * 20 and 22 name it.
 */
const CONTROL_BLOCK_SYMBOLS = ["Iv", "IS1_"].map(
  (allocator) =>
    `_ZTVSt23_Sp_counted_ptr_inplaceIN4node23WorkerThreadsTaskRunnerESa${allocator}ELN9__gnu_cxx12_Lock_policyE2EE`,
);
/**
 * The size of the two words between the symbol of a virtual table and the address to which objects
 * point.
 */
const VTABLE_HEADER_BYTES = 16;
/** The sizes of the memory that is searched. */
const HOLDER_BYTES = 64;
const PLATFORM_BYTES = 256;

/** Finds the platform of this program. */
export function findPlatform(native: Native): Platform | ForkRefusal {
  const controlBlock = CONTROL_BLOCK_SYMBOLS.map((name) => native.symbol(name)).find(
    (address) => address !== undefined,
  );
  const holder = native.symbol(PLATFORM_SYMBOL);
  const create = native.declare(CREATE_PLATFORM_SYMBOL, ["address", "bytes", "i32", "address", "address"]);
  const getTracingController = native.declare(GET_TRACING_CONTROLLER_SYMBOL, ["address", "address"]);
  if (
    controlBlock === undefined ||
    holder === undefined ||
    create === undefined ||
    getTracingController === undefined
  ) {
    return refusal("symbols", "this build of Node does not export the symbols that a fork needs");
  }
  const found = readWords(holder, HOLDER_BYTES)
    .filter((address) => address % 8 === 0)
    .map((address) => ({ address, offsets: runnerOffsets(address, controlBlock + VTABLE_HEADER_BYTES) }))
    .filter(({ offsets }) => offsets.length > 0);
  const [platform] = found;
  const [runnerOffset] = platform?.offsets ?? [];
  if (platform === undefined || runnerOffset === undefined || found.length > 1 || platform.offsets.length > 1) {
    return refusal("symbols", "the platform of this build of Node has an unknown memory layout");
  }
  return {
    runnerAddress: platform.address + runnerOffset,
    runnerOffset,
    tracingController: getTracingController(platform.address),
    create,
  };
}

/**
 * Returns the offsets of pointers to objects that `make_shared` has created with this virtual
 * table.
 */
function runnerOffsets(address: number, vtable: number): number[] {
  const fields = readWords(address, PLATFORM_BYTES);
  const offsets: number[] = [];
  for (let i = 1; i + 1 < fields.length; i++) {
    const block = fields[i + 1] as number;
    if (fields[i] === block + 16 && readWords(block, 8)[0] === vtable) offsets.push(i * 8);
  }
  return offsets;
}

/** Reads the words at an address; returns none if it is not mapped. */
function readWords(address: number, size: number): number[] {
  const view = address < 0x10000 ? undefined : peek(address, size);
  return view === undefined ? [] : Array.from({ length: size / 8 }, (_, i) => Number(view.getBigUint64(i * 8, true)));
}
