import { ProcessError } from "@multiproc/core";
import { registerErrors } from "@multiproc/core/internal";

/**
 * Shared memory could not be created or opened by its name, does not hold a valid `ShareableList`, or
 * is closed in this process. `code` names the case.
 *
 * @example A name that does not exist
 * ```ts
 * import { SharedMemory, SharedMemoryError } from "@multiproc/shared-memory";
 *
 * try {
 *   new SharedMemory({ name: "never-created" });
 * } catch (error) {
 *   console.log(error instanceof SharedMemoryError); // true
 * }
 * ```
 */
export class SharedMemoryError extends ProcessError {}

registerErrors({ SharedMemoryError });
