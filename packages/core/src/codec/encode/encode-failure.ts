/** Why a value cannot be sent, and where it stands. */
import { SendError } from "../../errors.ts";
import { describe, isStackOverflow } from "../format/describe.ts";
import { MAX_DEPTH } from "../format/tags.ts";

/**
 * Travels from the value that cannot be sent to the call that sends it. Each container on the way adds where it holds the
 * value, so that a path costs nothing as long as nothing fails.
 */
export class EncodeFailure {
  readonly reason: string;
  readonly cause: { readonly cause?: unknown };
  /** The steps of the path, innermost first. */
  readonly steps: string[] = [];
  /** Whether the path stays empty: one of a thousand steps helps nobody. */
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

/** Makes a refusal of whatever was thrown: by the codec itself, by a getter, a proxy or the engine. */
export function toEncodeFailure(thrown: unknown): EncodeFailure {
  if (thrown instanceof EncodeFailure) return thrown;
  if (isStackOverflow(thrown)) return nestingTooDeep({ cause: thrown });
  return new EncodeFailure(`a value that cannot be read (${describe(thrown)})`, { cause: thrown });
}

/** The refusal of a value that would not end, or not in time. */
export function nestingTooDeep(cause: { readonly cause?: unknown } = {}): EncodeFailure {
  return new EncodeFailure(`it is nested more than ${MAX_DEPTH} levels deep`, cause, true);
}

/** The refusal for what was thrown, seen from the container that holds the value at `step`. */
export function atPath(thrown: unknown, step: string): EncodeFailure {
  const failure = toEncodeFailure(thrown);
  if (!failure.isTooDeep) failure.steps.push(step);
  return failure;
}

/** How a property is written behind the object that has it. */
export function propertyStep(key: string): string {
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}
