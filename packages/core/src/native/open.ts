import { openOnDeno } from "./deno.ts";
import type { MissingNative, Native } from "./native.ts";
import { openOnNode } from "./node.ts";

let opened: Native | MissingNative | undefined;

/** The port to libc; undefined where there is none, see {@link missingNative}. */
export function native(): Native | undefined {
  opened ??= "Deno" in globalThis ? openOnDeno() : openOnNode();
  return "libc" in opened ? opened : undefined;
}

/** Why {@link native} has nothing to give; undefined if it has. */
export function missingNative(): MissingNative | undefined {
  return native() === undefined ? (opened as MissingNative) : undefined;
}
