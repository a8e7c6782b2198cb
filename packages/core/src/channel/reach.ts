import type { ByteStream, StreamAddress } from "../host/host.ts";
import { host } from "../host/mod.ts";

/** How long to rest before the next attempt at an address where too many wait already, in milliseconds. */
const REST = 10;

/** Opens a stream to an address. Where others wait to be let in, this waits too. */
export async function reach(address: StreamAddress, signal?: AbortSignal): Promise<ByteStream> {
  while (true) {
    try {
      return await host.connect(address, signal);
    } catch (error) {
      // Of those who do not wait in the system's own queue, it takes only so many.
      if (!isBusy(error as Error) || signal?.aborted) throw error;
      await new Promise<void>((resolve) => void host.timer(resolve, REST, true));
    }
  }
}

function isBusy(error: Error): boolean {
  return (error as { code?: string }).code === "EAGAIN" || error.name === "WouldBlock";
}
