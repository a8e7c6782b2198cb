/**
 * Builtin objects that cannot be sent: they hold resources of this process, or their contents
 * cannot be read.
 */
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

/**
 * Returns the reason why an object cannot be sent; null if it can.
 *
 * @param tag the name that `Object.prototype.toString` gives to the object
 */
export function whyUnsendable(object: object, tag: string): string | null {
  const name = functionName(object.constructor);
  if (UNSENDABLE_CLASS_NAMES.has(tag) || UNSENDABLE_CLASS_PATTERN.test(tag))
    return `${withArticle(UNSENDABLE_CLASS_NAMES.has(name) ? name : tag)}${HINTS[tag] ?? ""}`;
  // An object that must be closed is a handle to a resource, and a copy of its fields is not.
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
