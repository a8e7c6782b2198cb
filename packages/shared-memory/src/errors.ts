import { ProcessError } from "@multiproc/core";
import { registerErrors } from "@multiproc/core/internal";

/**
 * Memory cannot be made or found by that name, holds something else, or was closed in this process; `code` says which.
 *
 * @example A name that nobody has
 * ```ts
 * import { SharedMemory, SharedMemoryError } from "@multiproc/shared-memory";
 *
 * try {
 *   new SharedMemory({ name: "nobody-has-made-this" });
 * } catch (error) {
 *   console.log(error instanceof SharedMemoryError); // true
 * }
 * ```
 */
export class SharedMemoryError extends ProcessError {}

registerErrors({ SharedMemoryError });
