// Runs the most common programs in examples/ as users would run them.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { descendants, host, noChildLeft, type ProgramOptions, runProgram, until } from "@multiproc/testing";
import { afterAll, afterEach, describe, expect, onTestFinished, test } from "vitest";

const TEST_TIMEOUT_MS = 120_000;
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "examples-test-"));

afterEach(noChildLeft);
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

/** A command that runs a program in a terminal. */
const TERMINAL = ["sh", "-c", 'exec script -qefc "$*" /dev/null', "sh"];
const hasTerminals = process.platform === "linux" && spawnSync("script", ["--version"]).status === 0;

function example(name: string, ...args: string[]): ReturnType<typeof runProgram> {
  return startExample(name, args, {});
}

function startExample(name: string, args: string[], options: ProgramOptions): ReturnType<typeof runProgram> {
  const program = runProgram(new URL(`../../../examples/${name}/main.js`, import.meta.url), args, options);
  onTestFinished(() => program[Symbol.asyncDispose]());
  return program;
}

describe("thumbnails", () => {
  test(
    "the example makes a thumbnail of every image in a folder, and reports other files",
    async () => {
      const images = path.join(folder, "images");
      fs.mkdirSync(images);
      for (let i = 0; i < 12; i++) fs.writeFileSync(path.join(images, `${i}.svg`), picture(i));
      fs.writeFileSync(path.join(images, "notes.txt"), "no image");
      const program = example("thumbnails", images, path.join(folder, "thumbnails"));
      const { code } = await program.exited;
      expect(program.stdout, program.stderr).toMatch(/^12 thumbnails, \d+ bytes\n$/);
      expect(program.stderr).toMatch(/notes\.txt: .*unsupported image format/);
      // The Node layer of Deno reports some exit codes as signals, but not this one.
      expect(code).toBe(1);
      const first = fs.readFileSync(path.join(folder, "thumbnails", "0.svg.webp"));
      expect(first.subarray(8, 12).toString()).toBe("WEBP");
    },
    TEST_TIMEOUT_MS,
  );
});

describe.skipIf(!hasTerminals)("thumbnails on a terminal", () => {
  test(
    "the example shows its progress on a terminal",
    async () => {
      const images = path.join(folder, "few");
      fs.mkdirSync(images);
      for (let i = 0; i < 5; i++) fs.writeFileSync(path.join(images, `${i}.svg`), picture(i));
      const program = startExample("thumbnails", [images, path.join(folder, "small")], { wrap: TERMINAL });
      expect(await program.exited, program.stdout).toEqual({ code: 0, signal: null });
      const counts = [...program.stdout.matchAll(/\r(\d+) images /g)].map(([, count]) => Number(count));
      expect(counts).toEqual([1, 2, 3, 4, 5]);
    },
    TEST_TIMEOUT_MS,
  );
});

describe("a large file", () => {
  test(
    "the example parses a file on all cores, and counts lines that are not JSON",
    async () => {
      const file = path.join(folder, "orders.ndjson");
      const note = "x".repeat(4000); // makes the file larger than the permitted memory
      const lines = Array.from({ length: 60_000 }, (_, i) =>
        JSON.stringify({ id: i, country: ["de", "fr", "it"][i % 3], amount: i % 10, note }),
      );
      lines[100] = "{ broken";
      fs.writeFileSync(file, `${lines.join("\n")}\n`);
      const program = example("parse-large", file);
      expect(await program.exited, program.stderr).toEqual({ code: 0, signal: null });
      expect(program.stdout).toContain("fr: 19999 orders, ");
      expect(program.stdout).toContain("de: 20000 orders, 90000\n");
      expect(program.stdout).toContain("60000 lines, 1 of them invalid\n");
      const [, megabytes] = /, (\d+) MB in this process/.exec(program.stderr) ?? [];
      console.log(`parse-large: ${megabytes} MB for a file of ${Math.round(fs.statSync(file).size / 1e6)} MB`);
      expect(Number(megabytes)).toBeLessThan(230); // most of it is used by the interpreter itself
    },
    TEST_TIMEOUT_MS,
  );
});

describe("a pipeline", () => {
  test(
    "the example sends every document through its stages, and ends by itself",
    async () => {
      const program = example("pipeline", "150");
      expect(await program.exited, program.stderr).toEqual({ code: 0, signal: null });
      expect(program.stdout).toMatch(/^The first: [0-9a-f]{64}\n150 of 150 documents\n$/);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "the example finishes pending documents at Ctrl+C, and leaves nothing behind",
    async () => {
      const program = example("pipeline", "100000000");
      await until(() => program.stdout.includes("The first"), { timeout: 60_000, message: () => program.stderr });
      const stages = descendants(program.pid);
      program.kill("SIGINT");
      const { code } = await program.exited;
      expect(program.stdout).toMatch(/\n\d+ of 100000000 documents\n$/);
      if (host === "node") expect(code, program.stderr).toBe(0);
      expect(stages.length).toBeGreaterThan(2);
    },
    TEST_TIMEOUT_MS,
  );
});

function picture(i: number): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" width="800" height="600"><rect width="800" height="600" fill="hsl(${i * 30} 60% 50%)"/>
<circle cx="400" cy="300" r="${100 + i}" fill="white"/></svg>`;
}
