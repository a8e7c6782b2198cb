/** The table of Python's names in docs/guide/coming-from-python.md is complete and true. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";

const { names } = JSON.parse(readFileSync("docs/python-names.json", "utf8")) as { names: Record<string, string[]> };
const guide = readFileSync("docs/guide/coming-from-python.md", "utf8");
const rows = new Map(
  [...guide.matchAll(/^\| `([\w.]+)` \| (.+?) \| (.*) \|$/gm)].map(([, python = "", ours = "", note = ""]) => [
    python,
    { ours, note },
  ]),
);
const all = Object.entries(names).flatMap(([owner, members]) => members.map((name) => `${owner}.${name}`));

test("the table has a row for every public name of Python, and no other", () => {
  expect([...rows.keys()].sort()).toStrictEqual(all.sort());
});

test("the table names only what the library has, and gives a reason for each gap", async () => {
  const library = (await import(pathToFileURL("packages/multiproc/dist/mod.js").href)) as Record<
    string,
    { prototype?: object }
  >;
  for (const [python, { ours, note }] of rows) {
    if (ours === "—") {
      expect(note, python).not.toBe("");
      continue;
    }
    const [owner = "", member] = ours.replaceAll("`", "").split(".");
    expect(library, python).toHaveProperty(owner);
    // Fields do not show on a class. The source text of the class and its bases has them.
    let text = "";
    for (let each: unknown = library[owner]; typeof each === "function"; each = Object.getPrototypeOf(each)) {
      if (each !== Function.prototype) text += each.toString();
    }
    if (member) expect(text, `${python}: ${ours}`).toMatch(new RegExp(`\\b${member}\\b`));
  }
});

const python = spawnSync("python3", ["--version"], { encoding: "utf8" });
// Some classes have their methods only on instances. A derived class lists what it adds.
const LIST = `
import json, multiprocessing as m
from multiprocessing import connection, managers, pool, queues, shared_memory, sharedctypes
public = lambda thing: [n for n in dir(thing) if not n.startswith("_")]
more = lambda thing, base: [n for n in public(thing) if n not in public(base)]
print(json.dumps({
  "multiprocessing": list(m.__all__), "Process": public(m.Process()), "connection": connection.__all__,
  "Connection": public(connection.Connection), "Listener": public(connection.Listener), "Queue": public(m.Queue()),
  "JoinableQueue": more(m.JoinableQueue(), queues.Queue), "SimpleQueue": public(m.SimpleQueue()),
  "pool": pool.__all__, "Pool": [n for n in public(pool.Pool) if n != "Process"], "AsyncResult": public(pool.AsyncResult),
  "Lock": public(m.Lock()), "RLock": public(m.RLock()), "Semaphore": public(m.Semaphore()),
  "BoundedSemaphore": public(m.BoundedSemaphore()), "Condition": public(m.Condition()), "Event": public(m.Event()),
  "Barrier": public(m.Barrier(2)), "Value": public(m.Value("i")), "Array": public(m.Array("c", 1)),
  "shared_memory": shared_memory.__all__, "SharedMemory": public(shared_memory.SharedMemory),
  "ShareableList": public(shared_memory.ShareableList), "sharedctypes": sharedctypes.__all__,
  "managers": managers.__all__, "BaseManager": public(managers.BaseManager), "Token": public(managers.Token),
  "SyncManager": more(managers.SyncManager, managers.BaseManager),
  "SharedMemoryManager": more(managers.SharedMemoryManager, managers.BaseManager)}))`;

test.skipIf(python.status !== 0)(
  "holds every name of the Python that is here (skipped: where there is no python3)",
  () => {
    const { stdout, stderr } = spawnSync("python3", ["-c", LIST], { encoding: "utf8" });
    expect(stderr).toBe("");
    const here = JSON.parse(stdout) as Record<string, string[]>;
    for (const [owner, members] of Object.entries(here)) expect(names[owner]).toEqual(expect.arrayContaining(members));
  },
);
