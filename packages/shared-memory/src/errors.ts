import { ProcessError } from "@multiproc/core";
import { registerErrors } from "@multiproc/core/internal";

/** Memory cannot be made or found by that name, holds something else, or was closed in this process; `code` says which. */
export class SharedMemoryError extends ProcessError {}

registerErrors({ SharedMemoryError });
