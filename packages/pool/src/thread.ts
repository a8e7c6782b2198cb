/** What a worker thread runs; it is started, never imported. */
import { childConfig, claimRefusal, host, StreamChannel } from "@multiproc/core/internal";
import { serve } from "./worker.ts";

const stream = host.threadStream();
if (stream !== undefined) {
  childConfig.depth = host.threadDepth();
  childConfig.isThread = true;
  host.onUnhandledRejection(claimRefusal);
  const channel = new StreamChannel(stream, { shapes: "dictionary", peer: "the pool" });
  void serve(channel).then(() => host.exit(0));
  // A thread lives as long as somebody can give it work.
  channel.ref();
}
