/** What is not copied but found or built anew by the receiver: functions with a reference, and live objects. */
import { type Shareable, shareable } from "../../targets/shareable.ts";
import { type TargetReference, targetOf } from "../../targets/target.ts";
import { FUNCTION, LIVE, SOURCE } from "../format/tags.ts";
import { nameOf, Refusal, refusedAt } from "./encode-failure.ts";
import { writeText } from "./text-writer.ts";
import type { Scribe } from "./value-writer.ts";

/** Appends how a function is named across processes. */
export function writeFunction(scribe: Scribe, fn: (...args: unknown[]) => unknown): void {
  const reference = targetOf(fn);
  if (reference === undefined) throw new Refusal(words(fn));
  if ("source" in reference) {
    if (!scribe.refer(fn)) writeSource(scribe, reference);
    return;
  }
  scribe.cargo.need(reference.module);
  if (scribe.form(scribe.dictionary.functionForm(reference))) return;
  scribe.grow(1);
  scribe.tag(FUNCTION);
  writeText(scribe, reference.module);
  writeText(scribe, reference.name);
}

/** Appends the ticket of a live object. */
export function writeLive(scribe: Scribe, object: Shareable): void {
  const ticket = object[shareable]();
  scribe.cargo.need(ticket.module);
  if (ticket.commit !== undefined) scribe.cargo.addCommit((carrier) => ticket.commit?.(carrier));
  scribe.grow(1);
  scribe.tag(LIVE);
  writeText(scribe, ticket.kind);
  scribe.write(ticket.data);
}

function writeSource(scribe: Scribe, reference: Extract<TargetReference, { source: string }>): void {
  scribe.grow(1);
  scribe.tag(SOURCE);
  writeText(scribe, reference.name);
  writeText(scribe, reference.source);
  const names = Object.keys(reference.captured);
  try {
    scribe.properties(reference.captured, names);
  } catch (thrown) {
    throw refusedAt(thrown, ".captured");
  }
}

function words(fn: unknown): string {
  const name = nameOf(fn);
  const called = name === "" ? "" : ` ("${name}")`;
  return `a function without a module reference${called}: export it as task(import.meta.url, …), or wrap a small one as inline(…)`;
}
