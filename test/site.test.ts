/** The site that `npm run docs` builds, in a real browser. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const TYPES: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};
const LIMIT = 180_000;

// In CI a missing browser is a mistake of the set-up, so the test fails.
const reason = CHROMIUM || process.env.CI ? "" : " (skipped: there is no Chromium here; apt-get install chromium)";

describe.skipIf(reason)(`the site${reason}`, () => {
  const folder = mkdtempSync(join(tmpdir(), "multiproc-site-"));
  const profile = join(folder, "profile");
  const site = join(folder, "site");
  const faults: string[] = [];
  let server: Server;
  let origin: string;
  let browser: BrowserContext;
  let page: Page;

  beforeAll(async () => {
    const built = spawnSync(
      process.execPath,
      ["node_modules/typedoc/bin/typedoc", "--out", site, "--logLevel", "Warn"],
      {
        encoding: "utf8",
      },
    );
    expect(built.stdout + built.stderr).toBe("");
    server = serve(site);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    browser = await chromium.launchPersistentContext(profile, {
      ...(CHROMIUM ? { executablePath: CHROMIUM } : {}),
      args: FLAGS,
      timeout: LIMIT,
    });
    page = await browser.newPage();
    page.setDefaultTimeout(60_000);
    page.on("pageerror", (error) => void faults.push(`${page.url()}: ${error.message}`));
    page.on("response", (response) => {
      if (response.status() >= 400) faults.push(`${response.url()} answers ${response.status()}`);
    });
  }, LIMIT);

  afterAll(async () => {
    await browser?.close();
    server?.closeAllConnections();
    server?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test(
    "the site begins with the README and links to every package and guide",
    async () => {
      await page.goto(origin);
      expect(await page.locator("h1").allTextContents()).toEqual([expect.stringContaining("multiproc")]);
      const raw = await page.locator('.tsd-panel a[href$=".ts"], .tsd-panel a[href$=".md"]').evaluateAll(local);
      expect(raw).toStrictEqual([]); // a browser would show them as text
      const { projectDocuments } = JSON.parse(readFileSync("typedoc.json", "utf8")) as { projectDocuments: string[] };
      const guides = projectDocuments.filter((file) => file.startsWith("docs/guide/"));
      const titles = guides.map((file) => /^# (.+)$/m.exec(readFileSync(file, "utf8"))?.[1] ?? file);
      const navigation = page.locator("nav.tsd-navigation");
      // A script fills the tree. Entries in a closed part exist, but are not visible.
      await navigation.locator('a[href$="multiproc_pool.html"]').first().waitFor({ state: "attached" });
      const links = (await navigation.locator("a").allTextContents()).map((text) => text.trim());
      expect(links).toEqual(expect.arrayContaining([...titles, "multiproc"]));
      expect(faults).toStrictEqual([]);
    },
    LIMIT,
  );

  test(
    "the search finds Pool and opens it",
    async () => {
      await page.goto(origin);
      await page.locator("#tsd-search-trigger").click();
      await page.locator("#tsd-search-input").pressSequentially("Pool");
      const hit = page.locator("#tsd-search-results a").first();
      await hit.waitFor();
      await hit.click();
      await page.waitForURL(/Pool/);
      expect(await page.locator("h1").first().textContent()).toContain("Pool");
      expect(faults).toStrictEqual([]);
    },
    LIMIT,
  );

  test(
    "the site has no dead link: every page, anchor and file that a page names exists",
    async () => {
      await page.goto(origin);
      const { pages, dead } = await page.evaluate(crawl);
      expect(dead).toStrictEqual([]);
      expect(pages.length).toBeGreaterThan(100);
      // Each kind of page is also opened with its scripts, as a reader would.
      const kinds = new Map(pages.map((url) => [new URL(url).pathname.split("/")[1], url]));
      for (const url of kinds.values()) {
        await page.goto(url);
        expect(await page.locator("h1, h2").count()).toBeGreaterThan(0);
      }
      expect(faults).toStrictEqual([]);
    },
    LIMIT,
  );
});

/** Runs in the browser: returns the links that stay on the site. */
function local(links: Element[]): string[] {
  const all = links.map((link) => (link as HTMLAnchorElement).href);
  return all.filter((href) => new URL(href).origin === location.origin);
}

/** Runs in the browser: visits every page of the site from here, and checks the target of each link. */
async function crawl(): Promise<{ pages: string[]; dead: string[] }> {
  const documents = new Map<string, Promise<Document | undefined>>();
  const files = new Map<string, Promise<boolean>>();
  const dead: string[] = [];
  const read = async (url: string) => {
    const response = await fetch(url);
    return response.ok ? new DOMParser().parseFromString(await response.text(), "text/html") : undefined;
  };
  const open = (url: string) => {
    let found = documents.get(url);
    if (!found) documents.set(url, (found = read(url)));
    return found;
  };
  const exists = (url: string) => {
    let found = files.get(url);
    if (!found) files.set(url, (found = fetch(url).then(({ ok }) => ok)));
    return found;
  };
  const queue = [new URL("index.html", location.href).href];
  const seen = new Set(queue);
  for (const url of queue) {
    const document = await open(url);
    if (!document) continue;
    for (const node of document.querySelectorAll("[href], [src]")) {
      const reference = node.getAttribute("href") ?? node.getAttribute("src") ?? "";
      const target = new URL(reference, url);
      if (target.origin !== location.origin) continue;
      const anchor = decodeURIComponent(target.hash.slice(1));
      target.hash = "";
      if (!/(\/|\.html)$/.test(target.pathname)) {
        if (!(await exists(target.href))) dead.push(`${url} -> ${reference}`);
        continue;
      }
      if (target.pathname.endsWith("/")) target.pathname += "index.html";
      const there = await open(target.href);
      if (!there || (anchor && !there.getElementById(anchor))) dead.push(`${url} -> ${reference}`);
      if (!seen.has(target.href)) {
        seen.add(target.href);
        queue.push(target.href);
      }
    }
  }
  return { pages: queue, dead: [...new Set(dead)] };
}

function serve(root: string): Server {
  return createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://site").pathname;
    const file = join(root, decodeURIComponent(path.endsWith("/") ? `${path}index.html` : path));
    if (path === "/favicon.ico") return response.writeHead(204).end();
    if (!file.startsWith(root) || !existsSync(file)) return response.writeHead(404).end("There is no such page");
    response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
    response.end(readFileSync(file));
  });
}
