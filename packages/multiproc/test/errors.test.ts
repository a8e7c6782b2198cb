import { fixture } from "@multiproc/testing";
import * as multiproc from "multiproc";
import { describe, expect, test } from "vitest";

const { giveBack, overfill, throwIt } = multiproc.fromModule<typeof import("./fixtures/failing.js")>(
  fixture(import.meta.url, "failing.js"),
);

type ErrorClass = new (...args: never[]) => multiproc.ProcessError;

const classes = Object.entries(multiproc as unknown as Record<string, ErrorClass>).filter(
  ([, value]) => typeof value === "function" && (value === multiproc.ProcessError || isProcessError(value)),
);

describe("errors of this library", () => {
  test("every error class of this library arrives from a worker as an instance of it", async () => {
    expect(classes.length).toBeGreaterThan(15);
    await using pool = new multiproc.Pool({ processes: 1 });
    for (const [name, Class] of classes) {
      const sent = Object.assign(Reflect.construct(Error, [`of ${name}`], Class) as Error, { code: "ERR_X", fact: 5 });
      const error = await pool.apply(throwIt, [sent]).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(error).toBeInstanceOf(Class);
      expect((error as Error).constructor).toBe(Class);
      expect(error).toMatchObject({ message: `of ${name}`, code: "ERR_X", fact: 5 });
    }
  });

  test("every error class of this library arrives through a pipe as an instance of it", async () => {
    const [here, there] = multiproc.pipe();
    const child = new multiproc.Process({ target: giveBack, args: [there] });
    await child.start();
    await here.send(classes.map(([name, Class]) => Reflect.construct(Error, [name], Class)));
    const errors = (await here.recv()) as Error[];
    expect(errors.map((error) => error.constructor)).toStrictEqual(classes.map(([, Class]) => Class));
    await child.join();
    here.close();
  });

  test("a QueueFullError of a worker is an instance of the class of the caller", async () => {
    await using pool = new multiproc.Pool({ processes: 1 });
    const queue = new multiproc.Queue<number>(2);
    const error = await pool.apply(overfill, [queue]).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(multiproc.QueueFullError);
    expect(error).toMatchObject({ name: "QueueFullError", code: "ERR_QUEUE_FULL", item: 1 });
    queue.close();
  });
});

function isProcessError(value: object): boolean {
  const { prototype } = value as { prototype?: unknown };
  return prototype instanceof multiproc.ProcessError;
}
