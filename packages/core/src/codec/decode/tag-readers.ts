/** The table of the readers of objects, by tag. */
import { ProtocolError } from "../../errors.ts";
import * as tags from "../format/tags.ts";
import { readDoubles, readInts, readSparse, readStrings } from "./array-reader.ts";
import { readBinary, readPart } from "./binary-reader.ts";
import { readBoxed, readMap, readSet } from "./builtin-reader.ts";
import { readError } from "./error-reader.ts";
import { readFunction, readFunctionSource, readShareable } from "./function-reader.ts";
import { readBuiltinSubclass, readInstanceWithKeys, readProperties } from "./property-reader.ts";
import type { ReadContext } from "./read-context.ts";

/** The message of a {@link ProtocolError} for bytes that end too early. */
export const TRUNCATED = "Malformed message: the bytes end in the middle of a value";

type TagReader = (reader: ReadContext, tag: number) => unknown;

/**
 * The readers by tag. The value reader itself handles scalars, and tags with a number in the low
 * bits.
 */
export const tagReaders: readonly (TagReader | undefined)[] = table({
  [tags.ARRAY]: (reader) => reader.array(reader.length(1)),
  [tags.SPARSE]: readSparse,
  [tags.INTS8]: (reader) => reader.addReference(readInts(reader, 1)),
  [tags.INTS16]: (reader) => reader.addReference(readInts(reader, 2)),
  [tags.INTS32]: (reader) => reader.addReference(readInts(reader, 4)),
  [tags.DOUBLES]: (reader) => reader.addReference(readDoubles(reader)),
  [tags.STRINGS]: readStrings,
  [tags.OBJECT]: (reader) => readProperties(reader, reader.addReference({})),
  [tags.KNOWN_ENTRY]: (reader) => reader.knownEntry(reader.uint16()),
  [tags.DEFINE]: (reader) => reader.build(reader.readDefinition()),
  [tags.MAP]: readMap,
  [tags.SET]: readSet,
  [tags.DATE]: (reader) => reader.addReference(new Date(reader.float64())),
  [tags.REGEXP]: (reader) => reader.addReference(new RegExp(reader.text(), reader.text())),
  [tags.BOXED]: readBoxed,
  [tags.URL_TEXT]: (reader) => reader.addReference(new URL(reader.text())),
  [tags.BINARY]: (reader) => reader.addReference(readBinary(reader)),
  [tags.BINARY_PART]: (reader) => reader.addReference(readPart(reader)),
  [tags.ERROR]: readError,
  [tags.INSTANCE]: readInstanceWithKeys,
  [tags.BUILTIN_SUBCLASS]: readBuiltinSubclass,
  [tags.SHAREABLE]: readShareable,
  [tags.FUNCTION]: (reader) => readFunction(reader, { module: reader.text(), name: reader.text() }),
  [tags.FUNCTION_SOURCE]: readFunctionSource,
  [tags.REFERENCE]: (reader) => reader.object(reader.count()),
});

/** Throws, because the tag does not exist, or because the memory ends before it. */
export function throwUnknownTag(_reader: ReadContext, tag: number | undefined): never {
  throw new ProtocolError(
    tag === undefined ? TRUNCATED : `Malformed message: unknown tag 0x${tag.toString(16).padStart(2, "0")}`,
  );
}

function table(byTag: Readonly<Record<number, TagReader>>): (TagReader | undefined)[] {
  return Array.from({ length: tags.SHORT_ARRAY }, (_, tag) => byTag[tag]);
}
