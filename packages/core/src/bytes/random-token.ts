/**
 * Returns `bytes` random bytes as hexadecimal text. It comes from a cryptographic source, so it
 * cannot be guessed.
 */
export function randomToken(bytes: number): string {
  let token = "";
  for (const byte of crypto.getRandomValues(new Uint8Array(bytes))) token += byte.toString(16).padStart(2, "0");
  return token;
}
