/** The entry point of a worker thread. It is started, never imported. */
import { childConfig, claimRefusal, host, StreamChannel } from "@multiproc/core/internal";
import { serve } from "./worker.ts";

const stream = host.threadStream();
if (stream !== undefined) {
  childConfig.depth = host.threadDepth();
  childConfig.isThread = true;
  host.onUnhandledRejection(claimRefusal);
  const channel = new StreamChannel(stream, { shapes: "dictionary", peer: "the pool" });
  void serve(channel).then(() => host.exit(0));
  // The channel keeps the thread alive until the pool closes it.
  channel.ref();
}
