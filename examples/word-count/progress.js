// A progress bar on a terminal, plain lines elsewhere.
import process from "node:process";
import { Presets, SingleBar } from "cli-progress";

/** Shows how many of the `total` files are done. */
export function display(total) {
  return process.stdout.isTTY ? bar(total) : lines(total);
}

function bar(total) {
  const start = performance.now();
  const bar = new SingleBar(
    {
      format: "{bar} {percentage}% | {value}/{total} files | {rate} files/s | {eta_formatted} left",
      hideCursor: true,
      gracefulExit: false,
    },
    Presets.shades_classic,
  );
  bar.start(total, 0, { rate: 0 });
  const stop = () => bar.stop(); // restores the cursor, however the program ends
  process.once("exit", stop);
  return {
    add: (n) =>
      bar.increment(n, { rate: Math.round(((bar.getProgress() * total) / (performance.now() - start)) * 1000) }),
    stop: () => {
      process.off("exit", stop);
      stop();
    },
  };
}

function lines(total) {
  const start = performance.now();
  let done = 0;
  let told = 0;
  return {
    add(n) {
      done += n;
      const tenths = Math.floor((done / total) * 10);
      if (tenths === told) return;
      told = tenths;
      const elapsed = (performance.now() - start) / 1000;
      const left = (elapsed / done) * (total - done);
      console.log(`${done} of ${total} files, ${Math.round(done / elapsed)} files/s, ${left.toFixed(1)} s left`);
    },
    stop() {},
  };
}
