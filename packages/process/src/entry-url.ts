/** What a child runs, and what it loads when it needs it. */
import { codecModule } from "@multiproc/core/child";
import { childModules, host } from "@multiproc/core/internal";

const EXTENSION = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
const ENTRY = new URL(`./process-entry${EXTENSION}`, import.meta.url);
const WHOLE_ENTRY = new URL(`./process-entry-bundled${EXTENSION}`, import.meta.url);
/** What a child loads when it needs it. */
export const PARTS: readonly string[] = [ENTRY.href, codecModule];
for (const part of PARTS) childModules.add(part);

/** What a child is started with. */
export function entry(): URL {
  return mayLoadParts() ? ENTRY : WHOLE_ENTRY;
}

/** Whether a child, which may do no more than this process, can load parts of this library later. */
function mayLoadParts(): boolean {
  return PARTS.every((url) => !url.startsWith("file:") || host.mayRead(decodeURIComponent(new URL(".", url).pathname)));
}
