/** Reads files of `/proc` through libc: Deno demands extra permissions for some of them. */
import { O_CLOEXEC, O_RDONLY } from "./linux.ts";
import type { Native } from "./native.ts";

const bytes = new Uint8Array(4096);
const decoder = new TextDecoder();

/** Returns the first 4096 bytes of a file; undefined if it cannot be read. */
export function readProcFile({ libc }: Native, path: string): string | undefined {
  const fd = libc.open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return undefined;
  const length = libc.read(fd, bytes, bytes.length);
  libc.close(fd);
  return length < 0 ? undefined : decoder.decode(bytes.subarray(0, length));
}
