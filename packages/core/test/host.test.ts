import { noChildLeft } from "@multiproc/testing";
import { afterEach, expect, test } from "vitest";
import type { Subprocess } from "../src/host/host.ts";
import { host } from "../src/host/mod.ts";

afterEach(noChildLeft);

test("a subprocess that has ended can be held, let go and killed, also before anybody has been told", async () => {
  const touch = (made: Subprocess): void => {
    made.ref();
    made.unref();
    made.ref();
    made.kill("SIGCONT");
  };
  // The moment between its end and the news of it is short: so there are many looks at many processes.
  for (let i = 0; i < 200; i++) {
    const made = await host.spawn("/bin/true", { args: [] });
    const problems: unknown[] = [];
    for (let attempt = 0; attempt < 20; attempt++) {
      const run = (): void => {
        try {
          touch(made);
        } catch (error) {
          problems.push(error);
        }
        for (const end = performance.now() + 0.5; performance.now() < end; ); // time passes
      };
      host.timer(run, attempt % 3, false);
    }
    expect(await made.exited).toEqual({ code: 0, signal: null });
    touch(made);
    expect(problems).toEqual([]);
  }
});
