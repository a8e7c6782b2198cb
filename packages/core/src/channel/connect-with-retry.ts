import type { ByteStream, StreamAddress } from "../host/host.ts";
import { host } from "../host/mod.ts";

/** How long to rest before the next attempt at an address where too many wait already, in milliseconds. */
const RETRY_INTERVAL_MS = 10;

/** How {@link connectWithRetry} goes about it. */
export interface ConnectOptions {
  readonly signal?: AbortSignal | undefined;
  /**
   * How old a stream may be when this thread learns of it, in milliseconds. Who was busy or blocked meanwhile has used up the patience of
   * the other side, which waits for a first word, and tries anew.
   *
   * @default forever
   */
  readonly maxAgeMs?: number;
}

/** Opens a stream to an address. Where others wait to be let in, this waits too. */
export async function connectWithRetry(address: StreamAddress, options: ConnectOptions = {}): Promise<ByteStream> {
  const { signal, maxAgeMs = Number.POSITIVE_INFINITY } = options;
  while (true) {
    const startedAt = performance.now();
    try {
      const stream = await host.connect(address, signal);
      if (performance.now() - startedAt <= maxAgeMs) return stream;
      stream.destroy();
    } catch (error) {
      // Of those who do not wait in the system's own queue, it takes only so many.
      if (!isBacklogFull(error as Error) || signal?.aborted) throw error;
      await new Promise<void>((resolve) => void host.timer(resolve, RETRY_INTERVAL_MS, true));
    }
  }
}

function isBacklogFull(error: Error): boolean {
  return (error as { code?: string }).code === "EAGAIN" || error.name === "WouldBlock";
}
