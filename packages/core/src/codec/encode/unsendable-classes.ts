/** Builtin objects that cannot be sent: the system gave them to this process alone, or nobody can look into them. */
import { nameOf } from "./encode-failure.ts";

const NAMES: ReadonlySet<string> = new Set(
  (
    "Promise WeakMap WeakSet WeakRef FinalizationRegistry Symbol Generator AsyncGenerator AsyncFromSyncIterator Module process global " +
    "Atomics Math JSON Window SharedArrayBuffer ReadableStream WritableStream TransformStream CompressionStream DecompressionStream " +
    "ReadableStreamDefaultReader ReadableStreamBYOBReader WritableStreamDefaultWriter TextDecoderStream TextEncoderStream " +
    "TextDecoder TextEncoder AbortSignal AbortController MessagePort MessageChannel BroadcastChannel Worker WebSocket EventTarget " +
    "Event Blob File FormData Headers Request Response URLSearchParams URLPattern CryptoKey Crypto SubtleCrypto Performance Storage " +
    "DisposableStack AsyncDisposableStack"
  ).split(" "),
);
const PATTERN = /(^| )Iterator( |$)|^(Intl|Temporal|WebAssembly)\./;

const HINTS: Readonly<Record<string, string>> = {
  Promise: ": await it first",
  SharedArrayBuffer: ": use SharedMemory",
};

/** Why an object cannot be sent, by what `Object.prototype.toString` calls it; `null` if it can. */
export function refusalFor(object: object, tag: string): string | null {
  const name = nameOf(object.constructor);
  if (NAMES.has(tag) || PATTERN.test(tag)) return `${withArticle(NAMES.has(name) ? name : tag)}${HINTS[tag] ?? ""}`;
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
