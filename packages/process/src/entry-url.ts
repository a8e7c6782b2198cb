/** The entry modules of a child, and the modules that it loads on demand. */
import { codecModule } from "@multiproc/core/child";
import { childModules, host } from "@multiproc/core/internal";

const EXTENSION = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
const ENTRY = new URL(`./process-entry${EXTENSION}`, import.meta.url);
const BUNDLED_ENTRY = new URL(`./process-entry-bundled${EXTENSION}`, import.meta.url);
/** Modules of this library that a child loads on demand. */
export const LAZY_MODULES: readonly string[] = [ENTRY.href, codecModule];
for (const module of LAZY_MODULES) childModules.add(module);

/** Returns the entry module of a child. */
export function entryUrl(): URL {
  return canReadLazyModules() ? ENTRY : BUNDLED_ENTRY;
}

/**
 * Returns whether a child, whose permissions are at most those of this process, can read these
 * modules.
 */
function canReadLazyModules(): boolean {
  return LAZY_MODULES.every(
    (url) => !url.startsWith("file:") || host.canRead(decodeURIComponent(new URL(".", url).pathname)),
  );
}
