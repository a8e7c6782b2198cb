/** An npm registry of only the packed packages, for `deno add` and `npm install` as if they were published. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { basename } from "node:path";
import { published } from "./pack.mjs";

/**
 * Serves the packages on a local port. Optional dependencies from elsewhere are left out.
 *
 * @param {ReturnType<typeof import("./pack.mjs").pack>} packed
 * @returns {Promise<{ url: string, close: () => void }>}
 */
export async function serveRegistry(packed) {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? "/").slice(1);
    const name = path.replace(/\/-\/.*$/, "");
    const archive = packed.get(name)?.archive;
    if (archive === undefined) return response.writeHead(404).end();
    response.end(path === name ? JSON.stringify(about(name, archive, urlOf(server))) : readFileSync(archive));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  return { url: urlOf(server), close: () => void server.close() };
}

function urlOf(server) {
  return `http://127.0.0.1:${server.address().port}`;
}

/** Returns the metadata of a package. */
function about(name, archive, registry) {
  const manifest = structuredClone(published().find((each) => each.manifest.name === name)?.manifest);
  delete manifest.optionalDependencies;
  const bytes = readFileSync(archive);
  const dist = {
    tarball: `${registry}/${name}/-/${basename(archive)}`,
    shasum: createHash("sha1").update(bytes).digest("hex"),
    integrity: `sha512-${createHash("sha512").update(bytes).digest("base64")}`,
  };
  const { version } = manifest;
  return { name, "dist-tags": { latest: version }, versions: { [version]: { ...manifest, dist } } };
}
