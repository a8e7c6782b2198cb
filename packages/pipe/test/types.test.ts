/** The types of pipes. The compiler checks this file; the tests run it so that the code is real. */
import { type Connection, connect, Listener, pipe, type Waitable, wait } from "@multiproc/pipe";
import { expect, test } from "vitest";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function expectType<A>() {
  return { toEqual: <B>(_isEqual: Equal<A, B>): void => {} };
}
/** Type-checks a function without running it. */
function typeCheck(_run: () => unknown): void {}

test("the two ends of a pipe receive and send opposite types", async () => {
  const [a, b] = pipe<number, string>();
  expectType<typeof a>().toEqual<Connection<number, string>>(true);
  expectType<typeof b>().toEqual<Connection<string, number>>(true);
  await a.send("text");
  await b.sendMany([1, 2]);
  const text = await b.recv();
  const numbers = await a.recvMany();
  expectType<typeof text>().toEqual<string>(true);
  expectType<typeof numbers>().toEqual<number[]>(true);
  expect([text, numbers]).toEqual(["text", [1, 2]]);
  typeCheck(() => [
    // @ts-expect-error the other end receives strings
    a.send(1),
    // @ts-expect-error the other end receives numbers
    b.sendSync("text"),
    // @ts-expect-error the other end receives numbers
    b.sendMany(["text"]),
  ]);
});

test("with one type, both ends receive and send it", async () => {
  const [a, b] = pipe<{ id: number }>();
  expectType<typeof a>().toEqual<typeof b>(true);
  await a.send({ id: 1 });
  expect((await b.recv()).id).toBe(1);
  typeCheck(() => [
    // @ts-expect-error wrong property
    a.send({ name: 1 }),
  ]);
});

test("the ends of a one-way pipe cannot be used the other way round", async () => {
  const [receiver, sender] = pipe<number>({ duplex: false });
  expectType<typeof receiver>().toEqual<Connection<number, never>>(true);
  expectType<typeof sender>().toEqual<Connection<never, number>>(true);
  await sender.send(1);
  expect(await receiver.recv()).toBe(1);
  typeCheck(() => [
    // @ts-expect-error this end only receives
    receiver.send(1),
    // @ts-expect-error the other end receives numbers
    sender.send("text"),
  ]);
  const duplex: boolean = true;
  const [either] = pipe<number>({ duplex });
  expectType<typeof either>().toEqual<Connection<number>>(true);
});

test("a parameter of type Connection<T> takes every end that carries T", () => {
  const task = (_connection: Connection<string>): void => {};
  const [both] = pipe<string>();
  const [receiver, sender] = pipe<string>({ duplex: false });
  task(both);
  task(receiver);
  task(sender);
  typeCheck(() => [
    // @ts-expect-error this end receives numbers
    task(pipe<number, string>()[0]),
    // @ts-expect-error this end sends numbers
    task(pipe<string, number>()[0]),
  ]);
});

test("a plain Connection takes every end, and sends everything", async () => {
  const any = (_connection: Connection): void => {};
  for (const end of pipe<string, Date>()) any(end as Connection);
  any(pipe<number, string>()[0]);
  any(pipe<number>({ duplex: false })[0]);
  any(pipe<number>({ duplex: false })[1]);
  const [a, b] = pipe();
  await a.sendMany([1, "two", { three: 3 }]);
  const value = await b.recv();
  expectType<typeof value>().toEqual<unknown>(true);
});

test("accept() and connect() take both types", () => {
  typeCheck(async () => {
    const listener = new Listener();
    const one = await listener.accept<string>();
    const two = await listener.accept<string, number>();
    const three = await connect<string, number>(listener.address);
    expectType<typeof one>().toEqual<Connection<string, string>>(true);
    expectType<typeof two>().toEqual<Connection<string, number>>(true);
    expectType<typeof three>().toEqual<Connection<string, number>>(true);
    // @ts-expect-error the connection sends numbers
    await three.send("text");
  });
});

test("options are one object with known names", () => {
  const [a] = pipe();
  typeCheck(() => [
    // @ts-expect-error one object
    a.poll(5),
    // @ts-expect-error one object
    a.recvMany(5),
    // @ts-expect-error one object
    a.recvBytes(5),
    // @ts-expect-error unknown name
    a.recvBytes({ max: 5 }),
    // @ts-expect-error one object
    a.recvBytesInto(new Uint8Array(4), 2),
    // @ts-expect-error one object
    a.sendBytes(new Uint8Array(4), 2, 2),
    // @ts-expect-error unknown name
    a.recv({ timeOut: 5 }),
    // @ts-expect-error a blocked thread cannot see a signal
    a.recvSync({ signal: new AbortController().signal }),
    // @ts-expect-error unknown name
    pipe({ duplexx: false }),
    // @ts-expect-error not a buffer
    a.recvBytesInto([0, 0]),
    a.recvBytesInto(new Int32Array(4), { offset: 4, timeout: 5 }),
  ]);
});

test("wait() keeps the types of its objects", async () => {
  const [a, b] = pipe<string>();
  await a.send("hello");
  const [ready] = await wait([b]);
  expectType<typeof ready>().toEqual<Connection<string> | undefined>(true);
  expect(ready).toBe(b);
  const waitables: Waitable[] = [
    a,
    pipe<number, string>()[0],
    pipe({ duplex: false })[0],
    { ended: Promise.resolve() },
  ];
  expect(waitables.length).toBe(4);
  typeCheck(() => [
    // @ts-expect-error not waitable
    wait([{}]),
    // @ts-expect-error one object
    wait([a], 5),
  ]);
});
