import { registerLibraryModule } from "@multiproc/core/internal";

/**
 * The module that a receiver loads to rebuild the shareable objects of this package, unless it is
 * loaded already.
 */
export const MODULE: string = registerLibraryModule(import.meta.url, "@multiproc/sync");
