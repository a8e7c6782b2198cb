import {
  exec,
  fork,
  forkserverKind,
  getStartMethod,
  setExecutable,
  setForkserverPreload,
  setStartMethod,
  waitpid,
} from "@multiproc/start-methods";
import { describe, expect, test } from "vitest";

describe("a synchronous call throws for a mistake", () => {
  test.each<[string, () => unknown, string]>([
    ["an unknown method", () => setStartMethod("spwan" as never), 'Start method "spwan" is not available here'],
    ["no method", () => setStartMethod(undefined as never), "takes a start method as a string, such as"],
    ["an unknown option", () => setStartMethod("spawn", { forced: true } as never), 'Did you mean "force"?'],
    [
      "a flag as options",
      () => setStartMethod("spawn", true as never),
      "setStartMethod() takes its options as one object",
    ],
    ["a word as force", () => setStartMethod("spawn", { force: "yes" as never }), "takes true or false as force"],
    ["an empty path", () => setExecutable(""), "setExecutable() takes the path of an interpreter"],
    ["a URL as path", () => setExecutable(new URL("file:///bin/node") as never), "setExecutable() takes the path"],
    [
      "one URL to preload",
      () => setForkserverPreload("./a.js" as never),
      "setForkserverPreload() takes an array of URLs",
    ],
    [
      "a relative path to preload",
      () => setForkserverPreload(["./a.js"]),
      "setForkserverPreload() takes URLs of modules",
    ],
    ["a module to fork", () => (fork as (file: string) => number)("./child.js"), "fork() takes no arguments"],
    ["no program", () => exec("" as never), "exec() takes the path or the name of a program"],
    ["an argument that is a number", () => exec("ls", [1 as never]), "exec() takes strings"],
    ["arguments without an array", () => exec("ls", "-l" as never), "exec() takes its arguments as an array"],
    [
      "an unknown option of exec()",
      () => exec("ls", [], { cwd: "/" } as never),
      'exec() does not take the option "cwd"',
    ],
    [
      "an environment of lines",
      () => exec("ls", [], { env: ["A=1"] as never }),
      "exec() takes an object of strings as env",
    ],
  ])("%s", (_, call, message) => {
    expect(call).toThrow(message);
  });

  test("a refused call changes nothing", () => {
    const before = getStartMethod();
    expect(() => setStartMethod("forkserver", { forced: true } as never)).toThrow(TypeError);
    expect(getStartMethod()).toBe(before);
  });
});

describe("a call that returns a promise rejects for a mistake, and does not throw", () => {
  test.each<[string, () => Promise<unknown>, string]>([
    ["a pid that fork() did not return", () => waitpid(1), "waitpid() takes the pid of a child"],
    ["options that are a number", () => waitpid(1, 5 as never), "waitpid() takes its options as one object"],
    ["an unknown option", () => forkserverKind({ timeOut: 5 } as never), 'Did you mean "timeout"?'],
    ["a negative time-out", () => forkserverKind({ timeout: -1 }), "forkserverKind() takes a timeout"],
  ])("%s", async (_, call, message) => {
    const promise = call();
    expect(promise).toBeInstanceOf(Promise);
    await expect(promise).rejects.toThrow(message);
  });
});
