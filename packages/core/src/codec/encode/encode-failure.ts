/** The reason why a value cannot be sent, and its path. */
import { SendError } from "../../errors.ts";
import { describe, isStackOverflow } from "../format/describe.ts";
import { MAX_DEPTH } from "../format/tags.ts";

/**
 * Thrown where a value cannot be sent. Each container on the way up to the call adds a step to the
 * path, so that the path costs nothing unless a value fails.
 */
export class EncodeFailure {
  readonly reason: string;
  readonly cause: { readonly cause?: unknown };
  /** The steps of the path, innermost first. */
  readonly steps: string[] = [];
  /** Whether the path stays empty, because a path of 500 steps does not help. */
  readonly isTooDeep: boolean;

  constructor(reason: string, cause: { readonly cause?: unknown } = {}, isTooDeep = false) {
    this.reason = reason;
    this.cause = cause;
    this.isTooDeep = isTooDeep;
  }

  toError(root: string): SendError {
    return new SendError(root + this.steps.reverse().join(""), this.reason, this.cause);
  }
}

/** Converts anything thrown by the codec, a getter, a proxy or the engine. */
export function toEncodeFailure(thrown: unknown): EncodeFailure {
  if (thrown instanceof EncodeFailure) return thrown;
  if (isStackOverflow(thrown)) return nestingTooDeep({ cause: thrown });
  return new EncodeFailure(`a value that cannot be read (${describe(thrown)})`, { cause: thrown });
}

/** Returns the failure of a value that is nested too deeply or without end. */
export function nestingTooDeep(cause: { readonly cause?: unknown } = {}): EncodeFailure {
  return new EncodeFailure(`it is nested more than ${MAX_DEPTH} levels deep`, cause, true);
}

/** Converts anything thrown, and adds the step at which a container holds the value. */
export function atPath(thrown: unknown, step: string): EncodeFailure {
  const failure = toEncodeFailure(thrown);
  if (!failure.isTooDeep) failure.steps.push(step);
  return failure;
}

/** Returns the step of a property, such as `.name` or `["a key"]`. */
export function propertyStep(key: string): string {
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}
