/** Connects to an address, and retries while the listen backlog of the other process is full. */
import type { ByteStream, StreamAddress } from "../host/host.ts";
import { host } from "../host/mod.ts";

/** Time until the next attempt after the backlog was full. */
const RETRY_INTERVAL_MS = 10;

/** Options of {@link connectWithRetry}. */
export interface ConnectOptions {
  readonly signal?: AbortSignal | undefined;
  /**
   * Maximum age of a new connection when this thread gets it, in milliseconds. If this thread was
   * blocked for longer, the handshake timeout of the peer may have expired. Then the call connects
   * again.
   *
   * @default no limit
   */
  readonly maxAgeMs?: number;
}

/**
 * Opens a stream to an address. While the backlog there is full, the call waits and tries again.
 */
export async function connectWithRetry(address: StreamAddress, options: ConnectOptions = {}): Promise<ByteStream> {
  const { signal, maxAgeMs = Number.POSITIVE_INFINITY } = options;
  while (true) {
    const startedAt = performance.now();
    try {
      const stream = await host.connect(address, signal);
      if (performance.now() - startedAt <= maxAgeMs) return stream;
      stream.destroy();
    } catch (error) {
      // The system does not queue a non-blocking connect() when the backlog is full: it fails with
      // EAGAIN.
      if (!isBacklogFull(error as Error) || signal?.aborted) throw error;
      await new Promise<void>((resolve) => void host.timer(resolve, RETRY_INTERVAL_MS, true));
    }
  }
}

function isBacklogFull(error: Error): boolean {
  return (error as { code?: string }).code === "EAGAIN" || error.name === "WouldBlock";
}
