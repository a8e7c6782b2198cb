import { openOnDeno } from "./deno.ts";
import type { Native, NativeUnavailable } from "./native.ts";
import { openOnNode } from "./node.ts";

let opened: Native | NativeUnavailable | undefined;

/** The port to libc; undefined where there is none, see {@link whyNoNative}. */
export function native(): Native | undefined {
  opened ??= "Deno" in globalThis ? openOnDeno() : openOnNode();
  return "libc" in opened ? opened : undefined;
}

/** Why {@link native} has nothing to give; undefined if it has. */
export function whyNoNative(): NativeUnavailable | undefined {
  return native() === undefined ? (opened as NativeUnavailable) : undefined;
}
