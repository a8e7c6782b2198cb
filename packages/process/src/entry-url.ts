/** What a child runs, and what it loads when it needs it. */
import { codecModule } from "@multiproc/core/child";
import { childModules, host } from "@multiproc/core/internal";

const EXTENSION = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
const ENTRY = new URL(`./process-entry${EXTENSION}`, import.meta.url);
const BUNDLED_ENTRY = new URL(`./process-entry-bundled${EXTENSION}`, import.meta.url);
/** What a child loads when it needs it. */
export const LAZY_MODULES: readonly string[] = [ENTRY.href, codecModule];
for (const module of LAZY_MODULES) childModules.add(module);

/** What a child is started with. */
export function entryUrl(): URL {
  return canReadLazyModules() ? ENTRY : BUNDLED_ENTRY;
}

/** Whether a child, which may do no more than this process, can load parts of this library later. */
function canReadLazyModules(): boolean {
  return LAZY_MODULES.every(
    (url) => !url.startsWith("file:") || host.canRead(decodeURIComponent(new URL(".", url).pathname)),
  );
}
