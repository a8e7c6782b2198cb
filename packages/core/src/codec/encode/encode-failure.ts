/** The reason why a value cannot be sent, and its path. */
import { SendError } from "../../errors.ts";
import { describe, isStackOverflow } from "../format/describe.ts";
import { MAX_DEPTH } from "../format/tags.ts";

/**
 * The failure that is thrown where a value cannot be sent. Each container that it passes on its way
 * to `encode()` adds a step to the path. Paths therefore cost nothing for values that can be sent.
 */
export class EncodeFailure {
  readonly reason: string;
  readonly options: { readonly cause?: unknown };
  /** The steps of the path, innermost first. */
  readonly steps: string[] = [];
  /** Whether the nesting is too deep. The path then stays empty, because 500 steps do not help. */
  readonly isTooDeep: boolean;

  constructor(reason: string, options: { readonly cause?: unknown } = {}, isTooDeep = false) {
    this.reason = reason;
    this.options = options;
    this.isTooDeep = isTooDeep;
  }

  toError(root: string): SendError {
    return new SendError(root + this.steps.reverse().join(""), this.reason, this.options);
  }
}

/** Converts any error that the codec, a getter, a proxy or the engine has thrown. */
export function toEncodeFailure(thrown: unknown): EncodeFailure {
  if (thrown instanceof EncodeFailure) return thrown;
  if (isStackOverflow(thrown)) return nestingTooDeep({ cause: thrown });
  return new EncodeFailure(`a value that cannot be read (${describe(thrown)})`, { cause: thrown });
}

/** Returns the failure of a value that is nested too deeply or without end. */
export function nestingTooDeep(options: { readonly cause?: unknown } = {}): EncodeFailure {
  return new EncodeFailure(`it is nested more than ${MAX_DEPTH} levels deep`, options, true);
}

/** Converts any error, and adds the step from the container to the value. */
export function atPath(thrown: unknown, step: string): EncodeFailure {
  const failure = toEncodeFailure(thrown);
  if (!failure.isTooDeep) failure.steps.push(step);
  return failure;
}

/** Returns the step of a property, such as `.name` or `["a key"]`. */
export function propertyStep(key: string): string {
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}
