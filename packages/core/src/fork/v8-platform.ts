/**
 * Gives V8 in a child worker threads of its own.
 *
 * `fork()` copies one thread. In the child, V8 would wait forever for its worker threads when it
 * collects garbage, optimizes a function or compiles wasm. Every Node exports
 * `node::MultiIsolatePlatform::Create()`, which creates a new platform with running threads. The
 * platform holds its task runner in a `shared_ptr`. The child copies that of the new platform over
 * that of the platform that V8 uses.
 *
 * This file finds the address, and proves it before a child writes there. A `shared_ptr` is a pair
 * of pointers: to the object and to its control block. `make_shared` created the runner, so the
 * object is 16 bytes behind the control block. The control block starts with the address of a
 * virtual table, whose symbol names the class. Exactly one object to which
 * `node::per_process::v8_platform` points must contain exactly one such pair. Otherwise the fork is
 * refused.
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
  /** The address of the tracing controller, which `create` needs. */
  readonly tracingController: number;
  /** Creates a platform and writes its address to the first argument. */
  readonly create: Call<readonly ["address", "bytes", "i32", "address", "address"]>;
}

const PLATFORM_SYMBOL = "_ZN4node11per_process11v8_platformE";
const GET_TRACING_CONTROLLER_SYMBOL = "_ZN4node12NodePlatform20GetTracingControllerEv";
const CREATE_PLATFORM_SYMBOL = "_ZN4node20MultiIsolatePlatform6CreateEiPN2v817TracingControllerEPNS1_13PageAllocatorE";
/**
 * The virtual table of `_Sp_counted_ptr_inplace<WorkerThreadsTaskRunner, …>`. The first name is
 * that of Node 24 and newer, the second that of Node 20 and 22.
 */
const CONTROL_BLOCK_SYMBOLS = ["Iv", "IS1_"].map(
  (allocator) =>
    `_ZTVSt23_Sp_counted_ptr_inplaceIN4node23WorkerThreadsTaskRunnerESa${allocator}ELN9__gnu_cxx12_Lock_policyE2EE`,
);
/**
 * The distance from the symbol of a virtual table to the address to which objects point: two words.
 */
const VTABLE_HEADER_BYTES = 16;
/**
 * The sizes of the memory that is searched: `per_process::v8_platform`, and each object to which it
 * points.
 */
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
 * Returns the offsets of each `shared_ptr` in an object whose control block has this virtual table.
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

/** Returns the 64-bit words at an address; none if it is not mapped. */
function readWords(address: number, size: number): number[] {
  const view = address < 0x10000 ? undefined : peek(address, size);
  return view === undefined ? [] : Array.from({ length: size / 8 }, (_, i) => Number(view.getBigUint64(i * 8, true)));
}
