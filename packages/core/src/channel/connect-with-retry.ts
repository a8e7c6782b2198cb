import type { ByteStream, StreamAddress } from "../host/host.ts";
import { host } from "../host/mod.ts";

/** How long to rest before the next attempt at an address where too many wait already, in milliseconds. */
const REST = 10;

/** How {@link reach} goes about it. */
export interface ReachOptions {
  readonly signal?: AbortSignal | undefined;
  /**
   * How old a stream may be when this thread learns of it, in milliseconds. Who was busy or blocked meanwhile has used up the patience of
   * the other side, which waits for a first word, and tries anew.
   *
   * @default forever
   */
  readonly freshness?: number;
}

/** Opens a stream to an address. Where others wait to be let in, this waits too. */
export async function reach(address: StreamAddress, options: ReachOptions = {}): Promise<ByteStream> {
  const { signal, freshness = Number.POSITIVE_INFINITY } = options;
  while (true) {
    const began = performance.now();
    try {
      const stream = await host.connect(address, signal);
      if (performance.now() - began <= freshness) return stream;
      stream.destroy();
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
