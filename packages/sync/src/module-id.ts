import { registerLibraryModule } from "@multiproc/core/internal";

/**
 * The module that a process loads, if it has not yet, when it receives a primitive. The module
 * rebuilds the primitive there.
 */
export const MODULE: string = registerLibraryModule(import.meta.url, "@multiproc/sync");
