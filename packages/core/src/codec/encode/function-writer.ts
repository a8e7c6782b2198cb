/**
 * Writers of functions and of shareable objects. The receiver looks up or rebuilds them; it does
 * not get a copy of their contents.
 */
import { HANDLE, type Shareable } from "../../targets/shareable.ts";
import { type TargetReference, targetOf } from "../../targets/target.ts";
import { functionName } from "../format/describe.ts";
import { FUNCTION, FUNCTION_SOURCE, SHAREABLE } from "../format/tags.ts";
import { atPath, EncodeFailure } from "./encode-failure.ts";
import { writeText } from "./text-writer.ts";
import type { WriteContext } from "./write-context.ts";

/** Appends a function: the module and name of a task, or the source text of an inline function. */
export function writeFunction(writer: WriteContext, fn: (...args: unknown[]) => unknown): void {
  const reference = targetOf(fn);
  if (reference === undefined) throw new EncodeFailure(whyNoReference(fn));
  if ("source" in reference) {
    if (!writer.tryWriteReference(fn)) writeFunctionSource(writer, reference);
    return;
  }
  writer.attachments.requireModule(reference.module);
  if (writer.entry(writer.dictionary.functionEntry(reference))) return;
  writer.ensure(1);
  writer.tag(FUNCTION);
  writeText(writer, reference.module);
  writeText(writer, reference.name);
}

/** Appends the handle of a shareable object. */
export function writeShareable(writer: WriteContext, object: Shareable): void {
  const handle = object[HANDLE]();
  writer.attachments.requireModule(handle.module);
  if (handle.commit !== undefined) writer.attachments.addCommit((scope) => handle.commit?.(scope));
  writer.ensure(1);
  writer.tag(SHAREABLE);
  writeText(writer, handle.kind);
  writer.write(handle.data);
}

function writeFunctionSource(writer: WriteContext, reference: Extract<TargetReference, { source: string }>): void {
  writer.ensure(1);
  writer.tag(FUNCTION_SOURCE);
  writeText(writer, reference.name);
  writeText(writer, reference.source);
  const names = Object.keys(reference.captured);
  try {
    writer.properties(reference.captured, names);
  } catch (thrown) {
    throw atPath(thrown, ".captured");
  }
}

function whyNoReference(fn: unknown): string {
  const name = functionName(fn);
  const quotedName = name === "" ? "" : ` ("${name}")`;
  return `a function without a module reference${quotedName}: export it as task(import.meta.url, …), or wrap a small one as inline(…)`;
}
