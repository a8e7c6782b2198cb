// Runs under every start method.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { descendants, host, isAlive, noChildLeft, runProgram, until } from "@multiproc/testing";
import { afterAll, afterEach, describe, expect, onTestFinished, test } from "vitest";

const main = new URL("../../../examples/word-count/main.js", import.meta.url);
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "word-count-test-"));

afterEach(noChildLeft);
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

function count(directory: string): ReturnType<typeof runProgram> {
  const program = runProgram(main, [directory]);
  onTestFinished(() => program[Symbol.asyncDispose]());
  return program;
}

describe("the word-count example", () => {
  test("the example counts words and sizes, and reports files that it cannot read", async () => {
    const tree = path.join(folder, "tree");
    fs.mkdirSync(path.join(tree, "deep"), { recursive: true });
    fs.writeFileSync(path.join(tree, "a.txt"), "one two two\n");
    fs.writeFileSync(path.join(tree, "deep", "b.txt"), "two drei 4");
    fs.writeFileSync(path.join(tree, "binary"), Uint8Array.from([0, 1, 2]));
    fs.writeFileSync(path.join(tree, "empty"), "");
    // Nothing can read this file, not even root: it is removed before it is read, or its owner
    // forbids it.
    if (globalThis.process.getuid?.() !== 0) fs.writeFileSync(path.join(tree, "secret"), "x", { mode: 0 });
    const program = count(tree);
    const { code } = await program.exited;
    expect(program.stdout).toContain("3 text files, 0.0 MB");
    expect(program.stdout).toContain("5 words");
    expect(program.stdout).toContain("The most frequent: two 3, drei 1, one 1");
    expect(program.stdout).toMatch(
      /With a pool [\d.]+ s, in one process [\d.]+ s: [\d.]+ times as fast\nBoth came to the same result\n$/,
    );
    if (globalThis.process.getuid?.() !== 0) expect(program.stderr).toMatch(/Not read: .*secret \(EACCES\)/);
    else expect(program.stderr).toBe("");
    expect(code).toBe(0);
  });

  test("the example reports a missing directory, and exits with 2", async () => {
    const program = count(path.join(folder, "nowhere"));
    expect(await program.exited).toEqual({ code: 2, signal: null });
    expect(program.stderr).toMatch(/^Cannot list ".*nowhere": there is no such directory\n$/);
    expect(program.stdout).toBe("");
  });

  test("Ctrl+C ends the example and its workers at once, without output, and with exit code 130", async () => {
    const tree = path.join(folder, "large");
    fs.mkdirSync(tree);
    const text = "some words and more words ".repeat(40_000);
    for (let i = 0; i < 60; i++) fs.writeFileSync(path.join(tree, `${i}.txt`), text);
    const program = count(tree);
    await until(() => / of 60 files/.test(program.stdout), { message: () => `the first lines: ${program.stderr}` });
    const workers = descendants(program.pid);
    expect(workers.length).toBeGreaterThan(1);
    program.kill("SIGINT");
    // The Node layer of Deno reports exit code 130 of a child as SIGINT.
    const ended = host === "deno" ? { signal: "SIGINT" } : { code: 130, signal: null };
    expect(await program.exited).toMatchObject(ended);
    expect(program.stderr).toBe("");
    await until(() => !workers.some(isAlive), { message: "the workers to end" });
  });
});
