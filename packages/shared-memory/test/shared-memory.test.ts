// Runs under every start method.
import { mkdtempSync, readdirSync, rmdirSync } from "node:fs";
import process from "node:process";
import { fromModule } from "@multiproc/core";
import { whyNoSharedMemory } from "@multiproc/core/internal";
import { type Connection, pipe } from "@multiproc/pipe";
import { Process } from "@multiproc/process";
import { ShareableList, SharedArray, SharedMemory, SharedMemoryError, SharedValue } from "@multiproc/shared-memory";
import { fixture, noChildLeft, runProgram, until } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const children: Process[] = [];
const namesDir = `/tmp/multiproc-names-${process.getuid?.()}`;
const prefix = `test-${process.pid}`;
let nameCount = 0;
const newName = (): string => `${prefix}-${++nameCount}`;

async function start(target: (...args: never[]) => unknown, ...args: unknown[]): Promise<Process> {
  const child = new Process({ target: target as never, args: args as never });
  children.push(child);
  await child.start();
  return child;
}

async function run(target: (...args: never[]) => unknown, ...args: unknown[]): Promise<void> {
  const child = await start(target, ...args);
  expect(await child.join()).toBe(0);
}

/** Returns the names of this test that still exist. */
function namesLeft(): string[] {
  try {
    return readdirSync(namesDir).filter((name) => name.includes(prefix));
  } catch {
    return [];
  }
}

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill();
    await child.join();
  }
  await noChildLeft();
  await until(() => namesLeft().length === 0, { message: () => `no name left: ${namesLeft()}` });
});

describe.skipIf(whyNoSharedMemory() !== undefined)("SharedMemory", () => {
  test("memory that is opened by its name is the same memory", () => {
    const name = newName();
    const memory = new SharedMemory({ name, create: true, size: 1000 });
    expect([memory.name, memory.size, memory.buf.length]).toEqual([name, 1000, 1000]);
    const again = new SharedMemory({ name });
    again.buf[999] = 5;
    expect(memory.buf[999]).toBe(5);
    memory.close();
    expect(again.buf[999]).toBe(5);
    again.close();
    expect(() => new SharedMemory({ name })).toThrow(`found no memory "${name}"`);
  });

  test("memory that is sent arrives opened, and can be opened by its name there", async () => {
    const memory = new SharedMemory({ name: newName(), create: true, size: 100_000 });
    await run(tasks.fill, memory, 7);
    expect(memory.buf.every((byte) => byte === 7)).toBe(true);
    const [ours, theirs] = pipe();
    const child = await start(tasks.hold, memory.name, theirs);
    expect(await ours.recv()).toEqual([child.pid, 100_000, 7]);
    await ours.send("go");
    await child.join();
    memory.close();
  });

  test("memory gets its name while another process keeps removing the empty folder of names", async () => {
    const [ours, theirs] = pipe();
    await start(tasks.removeAgainAndAgain, namesDir, theirs);
    await ours.recv();
    await ours.send("go");
    for (let i = 0; i < 1000; i++) {
      using memory = new SharedMemory({ create: true, size: 10, name: newName() });
      expect(namesLeft()).toEqual([`n.${memory.name}`]);
    }
  });

  test("new SharedMemory() refuses a name that is taken or unknown, and wrong options", () => {
    const name = newName();
    using memory = new SharedMemory({ name, create: true, size: 10 });
    const error = attempt(() => new SharedMemory({ name, create: true, size: 10 })) as SharedMemoryError;
    expect(error).toBeInstanceOf(SharedMemoryError);
    expect(error.code).toBe("ERR_SHARED_MEMORY_EXISTS");
    expect((attempt(() => new SharedMemory({ name: newName() })) as SharedMemoryError).code).toBe(
      "ERR_SHARED_MEMORY_NOT_FOUND",
    );
    for (const size of [0, -1, 1.5]) expect(() => new SharedMemory({ create: true, size })).toThrow(RangeError);
    expect(() => new SharedMemory()).toThrow("takes a name to open memory, or create: true to create it");
    expect(() => new SharedMemory({ name, size: 10 })).toThrow("add create: true, or leave out size");
    using opened = new SharedMemory({ name, create: false, size: 20 });
    expect(opened.size).toBe(10);
    expect(() => new SharedMemory({ create: "yes" } as never)).toThrow('takes true or false as create, not "yes"');
    expect(() => new SharedMemory({ nmae: "x" } as never)).toThrow('Did you mean "name"?');
    expect(() => new SharedMemory({ handle: {} } as never)).toThrow('does not take the option "handle"');
    for (const options of ["x", 10, null])
      expect(() => new SharedMemory(options as never)).toThrow("takes its options as one object");
    for (const bad of ["", "a/b", "a\0b"]) expect(() => new SharedMemory({ name: bad })).toThrow(TypeError);
    expect(() => new SharedMemory({ create: true, size: 2 ** 46 })).toThrow("could not be reserved");
    expect(memory.buf.length).toBe(10);
  });

  test("using memory after close() is an error and not a crash", () => {
    const memory = new SharedMemory({ create: true, size: 64 });
    const words = new Int32Array(memory.buf.buffer);
    memory.close();
    memory.close();
    expect(() => memory.buf).toThrow("after close()");
    expect(words.length).toBe(0);
    expect(() => Atomics.store(words, 0, 1)).toThrow(TypeError);
  });

  test("unlink() removes the name, and its users keep the memory", () => {
    const name = newName();
    const first = new SharedMemory({ name, create: true, size: 8 });
    first.buf[0] = 1;
    first.unlink();
    expect(() => new SharedMemory({ name })).toThrow(SharedMemoryError);
    const second = new SharedMemory({ name, create: true, size: 8 });
    expect([first.buf[0], second.buf[0]]).toEqual([1, 0]);
    first.close();
    expect(new SharedMemory({ name }).buf.length).toBe(8);
    second.close();
    second.unlink();
  });

  test("memory exists as long as a process uses it, even if its creator was killed", async () => {
    const name = newName();
    const [ours, theirs] = pipe();
    const maker = await start(tasks.makeAndDie, name, theirs);
    const memory = (await ours.recv()) as SharedMemory;
    maker.kill();
    await maker.join();
    expect(memory.buf[0]).toBe(42);
    const [mine, its] = pipe();
    const child = await start(tasks.hold, name, its);
    expect(await mine.recv()).toEqual([child.pid, 100, 42]);
    memory.close();
    expect(namesLeft().length).toBe(1);
    child.kill();
    await child.join();
    await until(() => namesLeft().length === 0);
  });

  test("a name can have any letters, and a long one is refused", () => {
    const name = `${newName()} 'ü*$(x)' ~\\`;
    const memory = new SharedMemory({ name, create: true, size: 8 });
    expect(new SharedMemory({ name }).name).toBe(name);
    memory.close();
    memory.unlink();
    expect(() => new SharedMemory({ name: "x".repeat(300), create: true, size: 8 })).toThrow("too long");
  });

  test("a killed process leaves no name, even if named memory was the first thing it used", async () => {
    const temp = mkdtempSync("/tmp/names-test-");
    await using program = runProgram(fixture(import.meta.url, "names-before-folder.js"), [], { env: { TMPDIR: temp } });
    await until(() => program.stdout.includes("ready"), { message: () => `it to be ready: ${program.stderr}` });
    expect(readdirSync(temp).length).toBe(1);
    program.kill("SIGKILL");
    await until(() => readdirSync(temp).length === 0, { message: () => `no folder left: ${readdirSync(temp)}` });
    rmdirSync(temp);
  });

  test("processes that are killed at random leave no names", async () => {
    const problems: unknown[] = [];
    for (let round = 0; round < 3; round++) {
      const churners = await Promise.all(
        [1, 2].map(async () => {
          const [ours, theirs] = pipe();
          const child = await start(tasks.churn, prefix, theirs);
          await ours.recv();
          void (ours as Connection).recv().then(
            (problem) => problems.push(problem),
            () => {},
          );
          return child;
        }),
      );
      await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 60));
      for (const child of churners) {
        child.kill();
        await child.join();
      }
      await until(() => namesLeft().length === 0, { message: () => `no name left: ${namesLeft()}` });
    }
    expect(problems).toEqual([]);
  });
});

describe.skipIf(whyNoSharedMemory() !== undefined)("SharedValue and SharedArray", () => {
  test("many processes count exactly, by atomic operations and under the lock", async () => {
    const hits = new SharedValue("int32", 0);
    const sum = new SharedValue("float64", 1);
    const big = new SharedValue("int64", 0n);
    await Promise.all([1, 2, 3].map(() => run(tasks.count, hits, sum, big, 500)));
    expect([hits.value, sum.value, big.value]).toEqual([1500, 751, 4500n]);
  });

  test("values of integer types have atomic operations", () => {
    const value = new SharedValue("uint8", 250, { lock: false });
    expect([value.add(10), value.value]).toEqual([250, 4]);
    expect([value.sub(1), value.or(8), value.and(9), value.xor(1), value.value]).toEqual([4, 3, 11, 9, 8]);
    expect([value.exchange(1), value.compareExchange(1, 2), value.value]).toEqual([8, 1, 2]);
    expect(() => value.lock).toThrow("without a lock");
    const float = new SharedValue("float64", 0.5);
    expect(() => (float as never as typeof value).add(1)).toThrow("hold the lock");
    expect(() => (value.value = "1" as never)).toThrow(TypeError);
    expect(() => new SharedValue("int128" as never)).toThrow('Unknown element type "int128"');
    value.close();
    expect(() => value.value).toThrow("SharedValue was used after close()");
  });

  test("a SharedArray is a typed array over the memory", async () => {
    const numbers = new SharedArray("float64", [1, 2, 3]);
    await run(tasks.double, numbers);
    expect([...numbers]).toEqual([2, 4, 6]);
    expect([numbers.length, numbers.get(-1), numbers.array instanceof Float64Array]).toEqual([3, 6, true]);
    expect(() => numbers.get(3)).toThrow(RangeError);
    expect(() => numbers.set(-4, 1)).toThrow(RangeError);
    const flags = new SharedArray("int32", 4);
    expect([flags.add(1, 5), flags.compareExchange(1, 5, 6), flags.exchange(1, 7), flags.get(1)]).toEqual([0, 5, 6, 7]);
    expect([...new SharedArray("uint8", 0)]).toEqual([]);
    expect(() => new SharedArray("uint8", -1)).toThrow(RangeError);
    for (const content of [null, undefined, {}, true])
      expect(() => new SharedArray("uint8", content as never)).toThrow("takes a length or the first elements");
  });

  test("wrong options are refused", () => {
    for (const make of [
      (options: unknown) => new SharedValue("int32", 0, options as never),
      (options: unknown) => new SharedArray("int32", 1, options as never),
    ]) {
      expect(() => make({ locks: true })).toThrow('Did you mean "lock"?');
      expect(() => make({ lock: "yes" })).toThrow('takes an RLock, true or false as lock, not "yes"');
      expect(() => make({ lock: null })).toThrow("takes an RLock, true or false as lock, not null");
      expect(() => make(false)).toThrow("such as { lock: … }, not false");
    }
  });
});

describe.skipIf(whyNoSharedMemory() !== undefined)("ShareableList", () => {
  test("processes can replace the items of a ShareableList", async () => {
    const items = ["a string", 1.5, true, 12n, null, new Uint8Array([1, 2, 3])];
    const list = new ShareableList(items, { name: newName() });
    expect([...list]).toEqual(items);
    await run(tasks.change, list);
    const found = new ShareableList(undefined, { name: list.shm.name });
    expect([...found]).toEqual(["grüße", null, true, 12n, null, new Uint8Array([9, 8])]);
    expect(found.format).toEqual(["string", "null", "boolean", "bigint", "null", "bytes"]);
    expect([found.length, found.count(null), found.index(12n)]).toEqual([6, 2, 3]);
    expect(() => found.index("none")).toThrow(RangeError);
    expect(() => list.set(0, "too long for it")).toThrow("has reserved 8 bytes");
    expect(() => list.get(6)).toThrow(RangeError);
    expect(() => list.set(0, 2n ** 64n)).toThrow(RangeError);
    expect(() => new ShareableList([{} as never])).toThrow(TypeError);
    list.shm.close();
    found.shm.close();
    expect(() => list.get(0)).toThrow("after close()");
  });

  test("memory that is not a list, or is corrupted, is refused", () => {
    using memory = new SharedMemory({ name: newName(), create: true, size: 4 });
    expect(() => new ShareableList(undefined, { name: memory.name })).toThrow("is not a ShareableList");
    const list = new ShareableList(["x"]);
    list.shm.buf.fill(255, 8);
    expect(() => list.get(0)).toThrow("is corrupted");
    list.shm.close();
  });

  test("wrong arguments are refused", () => {
    expect(() => new ShareableList()).toThrow("takes items to create a list, or a name to open one");
    expect(() => new ShareableList(5 as never)).toThrow("takes its items as an iterable, not 5");
    expect(() => new ShareableList([1], { Name: "x" } as never)).toThrow('Did you mean "name"?');
    expect(() => new ShareableList([1], "x" as never)).toThrow("takes its options as one object");
  });
});

function attempt(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    return error;
  }
}
