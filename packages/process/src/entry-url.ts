/** The entry module of a child, and the modules of this library that it loads at run time. */
import { codecModule } from "@multiproc/core/child";
import { childModules, host } from "@multiproc/core/internal";

const EXTENSION = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
const ENTRY = new URL(`./process-entry${EXTENSION}`, import.meta.url);
const BUNDLED_ENTRY = new URL(`./process-entry-bundled${EXTENSION}`, import.meta.url);
/** Modules of this library that a child loads at run time: its entry, and the codec. */
export const LAZY_MODULES: readonly string[] = [ENTRY.href, codecModule];
for (const module of LAZY_MODULES) childModules.add(module);

/** Returns the entry module of a child. */
export function entryUrl(): URL {
  return canReadLazyModules() ? ENTRY : BUNDLED_ENTRY;
}

/**
 * Returns whether this process can read the folders of these modules. If it cannot, its children
 * cannot either, because they have at most the same permissions.
 */
function canReadLazyModules(): boolean {
  return LAZY_MODULES.every(
    (url) => !url.startsWith("file:") || host.canRead(decodeURIComponent(new URL(".", url).pathname)),
  );
}
