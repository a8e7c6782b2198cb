import { registerLibraryModule } from "@multiproc/core/internal";

/** The module that a receiver loads to get what this package sends, unless it has it already. */
export const MODULE: string = registerLibraryModule(import.meta.url, "@multiproc/shared-memory");
