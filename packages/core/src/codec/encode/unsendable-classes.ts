/** Builtin objects that cannot be sent: the system gave them to this process alone, or nobody can look into them. */
import { functionName } from "../format/describe.ts";

const UNSENDABLE_CLASS_NAMES: ReadonlySet<string> = new Set(
  (
    "Promise WeakMap WeakSet WeakRef FinalizationRegistry Symbol Generator AsyncGenerator AsyncFromSyncIterator Module process global " +
    "Atomics Math JSON Window SharedArrayBuffer ReadableStream WritableStream TransformStream CompressionStream DecompressionStream " +
    "ReadableStreamDefaultReader ReadableStreamBYOBReader WritableStreamDefaultWriter TextDecoderStream TextEncoderStream " +
    "TextDecoder TextEncoder AbortSignal AbortController MessagePort MessageChannel BroadcastChannel Worker WebSocket EventTarget " +
    "Event Blob File FormData Headers Request Response URLSearchParams URLPattern CryptoKey Crypto SubtleCrypto Performance Storage " +
    "DisposableStack AsyncDisposableStack"
  ).split(" "),
);
const UNSENDABLE_CLASS_PATTERN = /(^| )Iterator( |$)|^(Intl|Temporal|WebAssembly)\./;

const HINTS: Readonly<Record<string, string>> = {
  Promise: ": await it first",
  SharedArrayBuffer: ": use SharedMemory",
};

/** Why an object cannot be sent, by what `Object.prototype.toString` calls it; `null` if it can. */
export function whyUnsendable(object: object, tag: string): string | null {
  const name = functionName(object.constructor);
  if (UNSENDABLE_CLASS_NAMES.has(tag) || UNSENDABLE_CLASS_PATTERN.test(tag))
    return `${withArticle(UNSENDABLE_CLASS_NAMES.has(name) ? name : tag)}${HINTS[tag] ?? ""}`;
  // What must be closed is a handle to something; a copy of its fields would be neither the thing nor a handle to it.
  for (const symbol of [Symbol.dispose, Symbol.asyncDispose]) {
    if (symbol !== undefined && symbol in object) {
      return `${withArticle(name || tag)}, which holds a resource of this process`;
    }
  }
  return null;
}

function withArticle(name: string): string {
  return `${/^[AEIOU]/.test(name) ? "an" : "a"} ${name}`;
}
