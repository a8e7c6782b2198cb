import { ConnectionError, EOFError, pipe } from "@multiproc/pipe";
import { describe, expect, test } from "vitest";

describe("web streams of a connection", () => {
  test("streams carry bytes from one end to the other, and end together", async () => {
    const [a, b] = pipe({ duplex: false });
    const source = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let i = 0; i < 50; i++) controller.enqueue(new Uint8Array(10_000).fill(i));
        controller.close();
      },
    });
    const sent = source.pipeTo(b.toWritableStream());
    const received = await new Response(a.toReadableStream()).arrayBuffer();
    await sent;
    const bytes = new Uint8Array(received);
    expect(bytes.length).toBe(500_000);
    expect([bytes[0], bytes[10_000], bytes[499_999]]).toEqual([0, 1, 49]);
    expect([a.closed, b.closed]).toEqual([true, true]);
  });

  test("a readable stream leaves out empty messages, and fills the buffers of its reader", async () => {
    const [a, b] = pipe();
    await a.sendBytes(new Uint8Array(0));
    await a.sendBytes(Uint8Array.of(1, 2, 3));
    a.close();
    const reader = b.toReadableStream().getReader({ mode: "byob" });
    expect((await reader.read(new Uint8Array(2))).value).toEqual(Uint8Array.of(1, 2));
    expect((await reader.read(new Uint8Array(2))).value).toEqual(Uint8Array.of(3));
    expect((await reader.read(new Uint8Array(2))).done).toBe(true);
  });

  test("a readable stream receives only as fast as chunks are taken", async () => {
    const [a, b] = pipe<Uint8Array>();
    const stream = b.toReadableStream();
    await a.sendBytes(Uint8Array.of(1));
    await a.sendBytes(Uint8Array.of(2));
    const reader = stream.getReader();
    expect((await reader.read()).value).toEqual(Uint8Array.of(1));
    reader.releaseLock();
    expect(await b.recv()).toEqual(Uint8Array.of(2));
  });

  test("streams fail at values that are not bytes, and close the connection when they are cancelled or aborted", async () => {
    const [a, b] = pipe();
    await a.send({ not: "bytes" });
    await expect(b.toReadableStream().getReader().read()).rejects.toThrow(ConnectionError);
    await expect(
      a
        .toWritableStream()
        .getWriter()
        .write("text" as never),
    ).rejects.toThrow(TypeError);
    await b.toReadableStream().cancel();
    expect(b.closed).toBe(true);
    const [c, d] = pipe();
    await c.toWritableStream().abort();
    await expect(d.recv()).rejects.toThrow(EOFError);
    expect(() => c.toReadableStream()).toThrow("after close()");
  });
});
