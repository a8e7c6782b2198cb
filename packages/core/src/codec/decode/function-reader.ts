/** Readers of functions and of shareable objects, which are looked up or rebuilt. */
import { ProtocolError } from "../../errors.ts";
import { registry } from "../../registry.ts";
import { resolveTarget, type TargetReference } from "../../targets/target.ts";
import { readProperties } from "./property-reader.ts";
import type { DecodedShape, ReadContext } from "./read-context.ts";

/** Returns the function that a dictionary entry names. */
export function readFunctionEntry(reader: ReadContext, entry: DecodedShape): unknown {
  return readFunction(reader, entry.reference as TargetReference);
}

/** Returns the function that a reference names. */
export function readFunction(reader: ReadContext, reference: TargetReference): unknown {
  return reader.deferFailure(() => resolveTarget(reference));
}

/** Reads an inline function, which is sent as its source text. */
export function readFunctionSource(reader: ReadContext): unknown {
  const id = reader.reserveReference();
  const name = reader.text();
  const source = reader.text();
  const captured = readProperties(reader, {});
  return reader.resolveReference(
    id,
    reader.deferFailure(() => resolveTarget({ name, source, captured })),
  );
}

/** Reads the handle of a shareable object and rebuilds the object. */
export function readShareable(reader: ReadContext): unknown {
  const id = reader.reserveReference();
  const kind = reader.text();
  const data = reader.read();
  return reader.resolveReference(
    id,
    reader.deferFailure(() => revive(kind, data)),
  );
}

function revive(kind: string, data: unknown): object {
  const reviver = registry.revivers.get(kind);
  if (reviver === undefined)
    throw new ProtocolError(`Cannot rebuild a "${kind}": its module is not loaded in this process`);
  return reviver(data);
}
