/** What is found or built anew: functions with a reference, and live objects. */
import { ProtocolError } from "../../errors.ts";
import { registry } from "../../registry.ts";
import { resolveTarget, type TargetReference } from "../../targets/target.ts";
import type { Form } from "./decoded-shape.ts";
import { readProperties } from "./property-reader.ts";
import type { Reader } from "./value-reader.ts";

/** The function that a form names. */
export function readFunctionForm(reader: Reader, form: Form): unknown {
  return readFunction(reader, form.reference as TargetReference);
}

/** The function that a reference names. */
export function readFunction(reader: Reader, reference: TargetReference): unknown {
  return reader.attempt(() => resolveTarget(reference));
}

/** Reads a function that travels as its source text. */
export function readSource(reader: Reader): unknown {
  const number = reader.reserve();
  const name = reader.text();
  const source = reader.text();
  const captured = readProperties(reader, {});
  return reader.fulfil(
    number,
    reader.attempt(() => resolveTarget({ name, source, captured })),
  );
}

/** Reads the ticket of a live object and has it rebuilt. */
export function readLive(reader: Reader): unknown {
  const number = reader.reserve();
  const kind = reader.text();
  const data = reader.read();
  return reader.fulfil(
    number,
    reader.attempt(() => revive(kind, data)),
  );
}

function revive(kind: string, data: unknown): object {
  const reviver = registry.revivers.get(kind);
  if (reviver === undefined)
    throw new ProtocolError(`Nothing in this process rebuilds a "${kind}": its module has not been loaded`);
  return reviver(data);
}
