/**
 * V8's worker threads, and how a child gets its own.
 *
 * `fork()` copies one thread. V8 in the child would wait for ever for the answers of worker threads that are not there: in
 * the first garbage collection, the first optimized function, the first compiled wasm. The cure is an embedder's function that every
 * Node exports: `node::MultiIsolatePlatform::Create()` makes a new platform with running threads. The runner of its threads,
 * one `shared_ptr`, is copied over the one in the platform that V8 already knows; the rest of the new platform is left alone.
 *
 * Where the platform and the runner lie is found, and proven before anything is written there: the runner was made by
 * `make_shared`, so its pointer points 16 bytes behind its control block, and that begins with the address of a virtual table
 * whose symbol names the class. One such pair, in one object that `node::per_process::v8_platform` points to, or none at all.
 */
import type { Call, Native } from "../native/native.ts";
import { peek } from "./address-space.ts";
import { type ForkRefusal, refusal } from "./fork-refusal.ts";

/** Node's platform, as far as a fork needs it. */
export interface Platform {
  /** Where the `shared_ptr` to the runner lies. */
  readonly runnerAddress: number;
  /** The same, from the start of a platform. */
  readonly runnerOffset: number;
  readonly tracingController: number;
  /** Makes a new platform; writes its address to the first argument. */
  readonly create: Call<readonly ["address", "bytes", "i32", "address", "address"]>;
}

const PLATFORM_SYMBOL = "_ZN4node11per_process11v8_platformE";
const GET_TRACING_CONTROLLER_SYMBOL = "_ZN4node12NodePlatform20GetTracingControllerEv";
const CREATE_PLATFORM_SYMBOL = "_ZN4node20MultiIsolatePlatform6CreateEiPN2v817TracingControllerEPNS1_13PageAllocatorE";
/** The virtual table of `_Sp_counted_ptr_inplace<WorkerThreadsTaskRunner, …>`, as Node 24 and newer, 20 and 22 name it. */
const CONTROL_BLOCK_SYMBOLS = ["Iv", "IS1_"].map(
  (allocator) =>
    `_ZTVSt23_Sp_counted_ptr_inplaceIN4node23WorkerThreadsTaskRunnerESa${allocator}ELN9__gnu_cxx12_Lock_policyE2EE`,
);
/** A virtual table's symbol stands before two words that are not functions; objects point behind these. */
const VTABLE_HEADER_BYTES = 16;
/** How much is looked at. */
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
    return refusal("symbols", "this build of Node does not export what a fork needs");
  }
  const found = readWords(holder, HOLDER_BYTES)
    .filter((address) => address % 8 === 0)
    .map((address) => ({ address, offsets: runnerOffsets(address, controlBlock + VTABLE_HEADER_BYTES) }))
    .filter(({ offsets }) => offsets.length > 0);
  const [platform] = found;
  const [runnerOffset] = platform?.offsets ?? [];
  if (platform === undefined || runnerOffset === undefined || found.length > 1 || platform.offsets.length > 1) {
    return refusal("symbols", "the platform of this build of Node is laid out in another way");
  }
  return {
    runnerAddress: platform.address + runnerOffset,
    runnerOffset,
    tracingController: getTracingController(platform.address),
    create,
  };
}

/** Where in an object lies a pointer to something that `make_shared` made with this virtual table. */
function runnerOffsets(address: number, vtable: number): number[] {
  const fields = readWords(address, PLATFORM_BYTES);
  const offsets: number[] = [];
  for (let i = 1; i + 1 < fields.length; i++) {
    const block = fields[i + 1] as number;
    if (fields[i] === block + 16 && readWords(block, 8)[0] === vtable) offsets.push(i * 8);
  }
  return offsets;
}

/** The words at an address; none if it is not mapped. */
function readWords(address: number, size: number): number[] {
  const view = address < 0x10000 ? undefined : peek(address, size);
  return view === undefined ? [] : Array.from({ length: size / 8 }, (_, i) => Number(view.getBigUint64(i * 8, true)));
}
