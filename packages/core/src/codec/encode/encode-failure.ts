/** Why a value cannot be sent, and where it stands. */
import { SendError } from "../../errors.ts";
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

/** A short description of any value, for people. */
export function describe(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
    case "bigint":
      return `${value}n`;
    case "function":
      return `function ${functionName(value) || "without a name"}`;
    case "object":
      return value === null ? "null" : describeObject(value);
    default:
      return String(value);
  }
}

function describeObject(value: object): string {
  try {
    if (value instanceof Error) return `${value.name}: ${value.message}`;
    if (Array.isArray(value)) return `Array(${value.length})`;
    const tag = Object.prototype.toString.call(value).slice(8, -1);
    return tag === "Object" ? functionName(Object.getPrototypeOf(value)?.constructor) || tag : tag;
  } catch {
    return "an object that cannot be read";
  }
}

/** A function's own name, if that is plain data. */
export function functionName(fn: unknown): string {
  if (typeof fn !== "function") return "";
  const name: unknown = Object.getOwnPropertyDescriptor(fn, "name")?.value;
  return typeof name === "string" ? name : "";
}

/** Whether the engine ran out of stack: V8 says so only in words. */
export function isStackOverflow(thrown: unknown): boolean {
  return thrown instanceof RangeError && thrown.message === "Maximum call stack size exceeded";
}
