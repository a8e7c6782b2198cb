/** What reads the values that hold others, or are objects, by their tags. */
import { ProtocolError } from "../../errors.ts";
import * as tags from "../format/tags.ts";
import { readArrayWithKeys, readDoubles, readInts, readStrings } from "./array-reader.ts";
import { readBinary, readPart } from "./binary-reader.ts";
import { readBoxed, readMap, readSet } from "./builtin-reader.ts";
import { readError } from "./error-reader.ts";
import { readFunction, readLive, readSource } from "./function-reader.ts";
import { readDerived, readProperties, readUnshaped } from "./property-reader.ts";
import type { Reader } from "./value-reader.ts";

type TagReader = (reader: Reader, tag: number) => unknown;

/** By tag; the reader itself knows those of scalars and those that hold a number. */
export const readers: readonly (TagReader | undefined)[] = table({
  [tags.ARRAY]: (reader) => reader.array(reader.length(1)),
  [tags.SPARSE]: readArrayWithKeys,
  [tags.INTS8]: (reader) => reader.track(readInts(reader, 1)),
  [tags.INTS16]: (reader) => reader.track(readInts(reader, 2)),
  [tags.INTS32]: (reader) => reader.track(readInts(reader, 4)),
  [tags.DOUBLES]: (reader) => reader.track(readDoubles(reader)),
  [tags.STRINGS]: readStrings,
  [tags.OBJECT]: (reader) => readProperties(reader, reader.track({})),
  [tags.KNOWN]: (reader) => reader.known(reader.uint16()),
  [tags.DEFINE]: (reader) => reader.build(reader.define()),
  [tags.MAP]: readMap,
  [tags.SET]: readSet,
  [tags.DATE]: (reader) => reader.track(new Date(reader.float64())),
  [tags.REGEXP]: (reader) => reader.track(new RegExp(reader.text(), reader.text())),
  [tags.BOXED]: readBoxed,
  [tags.URL_TEXT]: (reader) => reader.track(new URL(reader.text())),
  [tags.BINARY]: (reader) => reader.track(readBinary(reader)),
  [tags.PART]: (reader) => reader.track(readPart(reader)),
  [tags.ERROR]: readError,
  [tags.INSTANCE]: readUnshaped,
  [tags.DERIVED]: readDerived,
  [tags.LIVE]: readLive,
  [tags.FUNCTION]: (reader) => readFunction(reader, { module: reader.text(), name: reader.text() }),
  [tags.SOURCE]: readSource,
  [tags.REFERENCE]: (reader) => reader.object(reader.count()),
});

/** There is no such tag, or the memory has ended. */
export function refuse(_reader: Reader, tag: number | undefined): never {
  throw new ProtocolError(
    tag === undefined ? "A message ends in the middle of a value" : `A message holds an unknown tag (${tag})`,
  );
}

function table(byTag: Readonly<Record<number, TagReader>>): (TagReader | undefined)[] {
  return Array.from({ length: tags.SHORT_ARRAY }, (_, tag) => byTag[tag]);
}
