import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { Decoder } from "../src/codec/decode/decoder.ts";
import { Encoder } from "../src/codec/encode/encoder.ts";
import { ProcessError, SendError, StartError, TargetError, TimeoutError } from "../src/errors.ts";
import { registry } from "../src/registry.ts";
import { inline, registerClass } from "../src/targets/target.ts";
import { difference, receive, send, trip } from "./fixtures/codec.ts";

const HERE = "file:///test/codec-errors.js";

describe("errors", () => {
  const kinds = [Error, TypeError, RangeError, SyntaxError, ReferenceError, URIError, EvalError];
  test.each(kinds.map((kind) => [kind.name, kind] as const))("%s arrives with all of its properties", (_, kind) => {
    const cause = new Error("the cause");
    const error = Object.assign(new kind("what happened", { cause }), {
      code: "ERR_X",
      details: { list: [1, undefined] },
      self: null as unknown,
    });
    error.self = error;
    expect(difference(trip(error), error)).toBe(undefined);
    expect(difference(trip(new kind()), new kind())).not.toBe(undefined);
    const plain = new kind();
    expect(difference(trip(plain), plain)).toBe(undefined);
    expect(trip(plain).stack).toBe(plain.stack);
  });

  test("an AggregateError arrives with its errors, even if some are other values", () => {
    const inner = new TypeError("inner");
    const error = new AggregateError([inner, 5, { inner }], "several", { cause: inner });
    const arrived = trip(error);
    expect(difference(arrived, error)).toBe(undefined);
    expect(arrived.errors[2].inner).toBe(arrived.cause);
  });

  test("a DOMException arrives with name and code", () => {
    const error = new DOMException("stopped", "AbortError");
    const arrived = trip(error);
    expect(arrived).toBeInstanceOf(DOMException);
    expect([arrived.name, arrived.message, arrived.code, arrived.stack]).toStrictEqual([
      "AbortError",
      "stopped",
      20,
      error.stack,
    ]);
  });

  test("the library's own errors arrive as themselves", () => {
    const errors = [
      new TimeoutError("recv()", 5),
      new StartError("no", { exitCode: 3, signal: null }),
      new SendError("args[0]", "a symbol", { cause: 1 }),
      new TargetError("x"),
      new ProcessError("y", { code: "ERR_Z" }),
    ];
    for (const error of errors) expect(difference(trip(error), error)).toBe(undefined);
  });

  test("an error of an unknown class arrives as the nearest known class, keeps its name, and loads no module", () => {
    class LimitError extends RangeError {
      override name = "LimitError";
      limit = 3;
    }
    class QuietError extends Error {
      get code(): string {
        return "ERR_QUIET";
      }
    }
    Object.defineProperty(QuietError.prototype, "name", { value: "QuietError" });
    const encoder = new Encoder();
    const limit = receive(send(new LimitError("too many"), encoder)) as LimitError;
    expect(encoder.modules).toStrictEqual([]);
    expect(Object.getPrototypeOf(limit)).toBe(RangeError.prototype);
    expect([limit.name, limit.limit, limit.message]).toStrictEqual(["LimitError", 3, "too many"]);
    expect(Object.keys(limit)).toStrictEqual(["name", "limit"]);
    const quiet = trip(new QuietError("hush"));
    expect(Object.getPrototypeOf(quiet)).toBe(Error.prototype);
    expect([quiet.name, quiet.code, Object.keys(quiet)]).toStrictEqual(["QuietError", "ERR_QUIET", []]);
    expect(String(quiet)).toBe("QuietError: hush");
  });

  test("an error of a registered class keeps it if the receiver has the class, without a call of its constructor", () => {
    class OrderError extends TypeError {
      static made = 0;
      readonly #order: number;
      constructor(order: number) {
        super(`order ${order}`);
        OrderError.made++;
        this.#order = order;
      }
      override get name(): string {
        return `Order${this.#order}`;
      }
    }
    registerClass(HERE, OrderError);
    const encoder = new Encoder();
    const message = send(new OrderError(7), encoder);
    expect(encoder.modules).toStrictEqual([]);
    const arrived = receive({ ...message, bytes: message.bytes.slice() }) as OrderError;
    expect(Object.getPrototypeOf(arrived)).toBe(OrderError.prototype);
    expect([arrived.message, arrived.name, OrderError.made]).toStrictEqual(["order 7", "Order7", 1]);
    registry.classes.delete(`${HERE}#OrderError`);
    const unknown = receive(message) as Error;
    expect(Object.getPrototypeOf(unknown)).toBe(TypeError.prototype);
    expect(unknown.name).toBe("Order7");
  });

  test("an error never gets a registered class that does not extend Error", () => {
    class Impostor extends Error {}
    registerClass(HERE, Impostor);
    const message = send(new Impostor("x"));
    registry.classes.set(`${HERE}#Impostor`, { module: HERE, name: "Impostor", constructor: class {} });
    expect(Object.getPrototypeOf(receive(message))).toBe(Error.prototype);
    registry.classes.delete(`${HERE}#Impostor`);
  });

  test("a property of an error that cannot be sent becomes a description, and the rest arrives, in later messages too", () => {
    const encoder = new Encoder({ shapes: "dictionary" });
    const decoder = new Decoder();
    const large = new Uint8Array(70_000);
    for (let i = 0; i < 3; i++) {
      const error = Object.assign(new Error("broken", { cause: Promise.resolve() }), {
        before: { key: 1, shape: i },
        handler: () => 1,
        socket: { large, new: { shape: 1 }, onData() {} },
        symbol: Symbol("s"),
        inline: { f: inline(() => 1), bad: new WeakMap() },
        after: { key: 2, shape: i },
      });
      Object.defineProperty(error, "secret", {
        enumerable: true,
        get: () => {
          throw new RangeError("no");
        },
      });
      const arrived = receive(send({ error, next: { key: 3, shape: i } }, encoder), decoder) as {
        error: Record<string, unknown>;
        next: unknown;
      };
      expect(encoder.parts).toStrictEqual([]);
      expect(arrived.error).toBeInstanceOf(Error);
      expect({ ...arrived.error }).toStrictEqual({
        before: { key: 1, shape: i },
        handler: "function handler",
        socket: "Object",
        symbol: "Symbol(s)",
        inline: "Object",
        after: { key: 2, shape: i },
        secret: "cannot be read: RangeError: no",
      });
      expect(arrived.error.cause).toBe("Promise");
      expect(arrived.next).toStrictEqual({ key: 3, shape: i });
    }
  });

  test("a rollback restores keys, objects and the depth of nesting", () => {
    const encoder = new Encoder({ shapes: "dictionary" });
    const decoder = new Decoder();
    const shared = { shared: 1 };
    for (let i = 0; i < 2; i++) {
      const error = Object.assign(new Error("x"), { bad: [{ only: 1 }, { deep: [{}] }, shared, () => 1] });
      const arrived = receive(send([error, shared, shared, { z: shared }], encoder), decoder) as unknown[];
      expect(difference(arrived.slice(1), [shared, shared, { z: shared }])).toBe(undefined);
    }
    expect(receive(send([{ only: 2 }, { deep: 3 }], encoder), decoder)).toStrictEqual([{ only: 2 }, { deep: 3 }]);
    const many = Array.from({ length: 600 }, () =>
      Object.assign(new Error("x"), { bad: [[[() => 1]]], list: [Symbol()] }),
    );
    const arrived = receive(send(many, encoder), decoder) as typeof many;
    expect(arrived[599]).toMatchObject({ message: "x", bad: "Array(1)", list: "Array(1)" });
  });

  test("the list of errors of an AggregateError keeps its identity", () => {
    const error = new AggregateError([new Error("one")], "all");
    const value = { error, list: error.errors, again: error };
    expect(difference(trip(value), value)).toBe(undefined);
  });

  test("the other errors of an AggregateError arrive if one of them cannot be sent", () => {
    const arrived = trip(new AggregateError([new Error("one"), () => 1, new Error("two")], "all"));
    expect(arrived.errors.map(String)).toStrictEqual(["Error: one", "function without a name", "Error: two"]);
  });

  test("a chain of more than 500 causes is cut", () => {
    let error = new Error("0");
    for (let i = 1; i < 3000; i++) error = new Error(String(i), { cause: error });
    let arrived: unknown = trip(error);
    let length = 0;
    for (; arrived instanceof Error; arrived = arrived.cause) length++;
    expect(length).toBe(500);
    expect(arrived).toBe("Error: 2499");
  });

  test("names, messages and stacks that are not strings arrive as strings", () => {
    const error = Object.assign(new Error("x"), { stack: 5 });
    Object.defineProperty(error, "message", { value: { toString: () => "from an object" } });
    Object.defineProperty(error, "name", {
      get: () => {
        throw new Error("no name");
      },
    });
    const arrived = trip(error);
    expect([arrived.name, arrived.message, arrived.stack]).toStrictEqual(["Error", "from an object", "5"]);
  });

  test("an object that only names itself an error arrives as a plain object", () => {
    class Report {
      total = 3;
      get [Symbol.toStringTag](): string {
        return "Error";
      }
    }
    expect(difference(trip(new Report()), { total: 3 })).toBe(undefined);
    expect(trip(runInNewContext("new RangeError('theirs')")).message).toBe("theirs");
  });

  test("an error in a container arrives as one object", () => {
    const error = new Error("x");
    const arrived = trip({ list: [error], map: new Map([[error, error]]) });
    expect(arrived.list[0]).toBeInstanceOf(Error);
    expect(arrived.map.get(arrived.list[0] as Error)).toBe(arrived.list[0]);
  });
});
