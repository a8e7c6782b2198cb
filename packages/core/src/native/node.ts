/** The port to libc on Node: `node:ffi` where it is built in (26.1 and newer), else koffi, where npm has installed it along. */
import { openKoffi } from "./koffi.ts";
import type { Native, NativeUnavailable } from "./native.ts";
import { type NodeFfi, openNodeFfi } from "./node-ffi.ts";

/** The port on Node, or why there is none. */
export function openOnNode(): Native | NativeUnavailable {
  const ffi = nodeFfi();
  return ffi === undefined ? openKoffi() : openNodeFfi(ffi);
}

/**
 * `node:ffi`, where it is built in and not switched off. That it is experimental is told to whoever loads it; that is this library,
 * of which every process of a program that never heard of it would print a warning.
 */
function nodeFfi(): NodeFfi | undefined {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    // Types of older Nodes do not know the name.
    return process.getBuiltinModule("node:ffi" as "node:fs") as unknown as NodeFfi | undefined;
  } finally {
    process.emitWarning = emitWarning;
  }
}
