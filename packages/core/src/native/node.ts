/**
 * Opens the port to libc on Node: `node:ffi` if it is built in (26.1 and newer), else koffi, an
 * optional dependency.
 */
import { openKoffi } from "./koffi.ts";
import type { Native, NativeUnavailable } from "./native.ts";
import { type NodeFfi, openNodeFfi } from "./node-ffi.ts";

/** Opens the port on Node; returns the reason if that fails. */
export function openOnNode(): Native | NativeUnavailable {
  const ffi = nodeFfi();
  return ffi === undefined ? openKoffi() : openNodeFfi(ffi);
}

/**
 * Loads `node:ffi` if it is built in and not disabled. Node warns that it is experimental. That
 * warning is suppressed: each process of a program would print it, although the program itself does
 * not use `node:ffi`.
 */
function nodeFfi(): NodeFfi | undefined {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    // The types of older Nodes lack this name.
    return process.getBuiltinModule("node:ffi" as "node:fs") as unknown as NodeFfi | undefined;
  } finally {
    process.emitWarning = emitWarning;
  }
}
