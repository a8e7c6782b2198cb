/** Descriptions of values for error messages, and a test for stack overflows. */

/** Describes any value in a few words. */
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

/** Returns the name of a function; "" if it has none, or if only a getter could return it. */
export function functionName(fn: unknown): string {
  if (typeof fn !== "function") return "";
  const name: unknown = Object.getOwnPropertyDescriptor(fn, "name")?.value;
  return typeof name === "string" ? name : "";
}

/**
 * Whether an error means that the stack is full. V8 shows that only by the message of the error.
 */
export function isStackOverflow(thrown: unknown): boolean {
  return thrown instanceof RangeError && thrown.message === "Maximum call stack size exceeded";
}
