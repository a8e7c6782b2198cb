/** Files by which the system tells about itself; Deno has no leave for some of them, and libc needs none. */
import { O_CLOEXEC, O_RDONLY } from "./linux.ts";
import type { Native } from "./native.ts";

const bytes = new Uint8Array(4096);
const decoder = new TextDecoder();

/** The first 4096 bytes of such a file; undefined if there is none. */
export function readProcFile({ libc }: Native, path: string): string | undefined {
  const fd = libc.open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return undefined;
  const length = libc.read(fd, bytes, bytes.length);
  libc.close(fd);
  return length < 0 ? undefined : decoder.decode(bytes.subarray(0, length));
}
