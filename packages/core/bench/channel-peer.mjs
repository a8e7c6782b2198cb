// The other side of channel.mjs: decodes what comes, and answers after the last.
import process from "node:process";
import { dial } from "@multiproc/core/internal";

const [socketPath, token, count] = process.argv.slice(2);
const channel = await dial({ socketPath, token }, "the benchmark");
let left = Number(count);
channel.ref();
channel.start({
  message(frame) {
    channel.decode(frame);
    if (--left === 0) channel.send(1, "done");
  },
  closed: () => process.exit(),
});
