// The receiver of channel.mjs: decodes all messages, and answers the last one.
import process from "node:process";
import { dial } from "@multiproc/core/internal";

const [socketPath, token, count] = process.argv.slice(2);
const channel = await dial({ socketPath, token }, "the benchmark");
let remaining = Number(count);
channel.ref();
channel.start({
  message(frame) {
    channel.decode(frame);
    if (--remaining === 0) channel.send(1, "done");
  },
  closed: () => process.exit(),
});
