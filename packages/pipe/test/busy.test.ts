import { fromModule } from "@multiproc/core";
import { pipe } from "@multiproc/pipe";
import { Process } from "@multiproc/process";
import { fixture, noChildLeft } from "@multiproc/testing";
import { afterEach, expect, test } from "vitest";

const { computeFirst } = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
/** Longer than the handshake timeout of an endpoint. */
const COMPUTE_MS = 11_000;

afterEach(noChildLeft);

test("a connection survives a child that blocks its event loop for longer than the handshake timeout", async () => {
  const [here, there] = pipe<string>();
  const child = new Process({ target: computeFirst, args: [there, COMPUTE_MS] });
  await child.start();
  await here.send("late");
  expect(await here.recv()).toBe("late");
  expect(await child.join()).toBe(0);
}, 60_000);
