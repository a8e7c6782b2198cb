import { registerLibraryModule } from "@multiproc/core/internal";

/** The module that a receiver loads before it can decode objects of this package. */
export const MODULE: string = registerLibraryModule(import.meta.url, "@multiproc/shared-memory");
