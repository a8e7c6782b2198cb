/** Runs publint on every package that is published to npm. */
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

const folders = readdirSync("packages").map((name) => `packages/${name}`);
const published = folders.filter((folder) => !read(folder).private);

await Promise.all(
  published.map(async (folder) => {
    const { messages } = await publint({ pkgDir: folder, strict: true, pack: "npm" });
    for (const message of messages) {
      console.error(`${folder}: ${formatMessage(message, read(folder), { color: false })}`);
      process.exitCode = 1;
    }
  }),
);

function read(folder) {
  return JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
}
