/** Opens the port to libc, at the first call. */
import { openOnDeno } from "./deno.ts";
import type { Native, NativeUnavailable } from "./native.ts";
import { openOnNode } from "./node.ts";

let opened: Native | NativeUnavailable | undefined;

/** Returns the port to libc; undefined if there is none, see {@link whyNoNative}. */
export function native(): Native | undefined {
  opened ??= "Deno" in globalThis ? openOnDeno() : openOnNode();
  return "libc" in opened ? opened : undefined;
}

/** Returns the reason why {@link native} returns undefined; undefined if it does not. */
export function whyNoNative(): NativeUnavailable | undefined {
  return native() === undefined ? (opened as NativeUnavailable) : undefined;
}
