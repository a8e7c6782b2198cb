/**
 * Returns random bytes as hexadecimal text with two digits for each byte. They come from a
 * cryptographic source, so the text cannot be guessed.
 */
export function randomToken(byteCount: number): string {
  let token = "";
  for (const byte of crypto.getRandomValues(new Uint8Array(byteCount))) token += byte.toString(16).padStart(2, "0");
  return token;
}
