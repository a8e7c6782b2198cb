/** Files by which the system tells about itself; Deno has no leave for some of them, and libc needs none. */
import { O_CLOEXEC, O_RDONLY } from "./linux.ts";
import type { Native } from "./native.ts";

const bytes = new Uint8Array(4096);
const decoder = new TextDecoder();

/** The first 4096 bytes of such a file; undefined if there is none. */
export function readSystemFile({ libc }: Native, path: string): string | undefined {
  const file = libc.open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return undefined;
  const length = libc.read(file, bytes, bytes.length);
  libc.close(file);
  return length < 0 ? undefined : decoder.decode(bytes.subarray(0, length));
}
