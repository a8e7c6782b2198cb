/**
 * Loads the modules that a message names, before the message is decoded.
 *
 * A message names a module by its URL. It names a package of this library by a *library module*:
 * the URL of the package's `mod` file, and the package's name. A process that already has the
 * package, for example in a bundle, finds it by that name and does not load the URL.
 */
import { TargetError } from "../errors.ts";
import { host } from "../host/mod.ts";
import { registry, singleton } from "../registry.ts";
import { isForkedChild } from "../runtime/at-fork.ts";
import { childConfig } from "../runtime/child-config.ts";
import { guardImport } from "./import-guard.ts";

/** The main program waits this long for an import before it uses the module's declared exports. */
const SUSPENDED_AFTER_MS = 100;

/** Separates the URL and the name of a library module. */
const LIBRARY_MARKER = "#multiproc:";

/**
 * The exports that modules of this process declared by `task()` and `registerClass()`, by URL and
 * name.
 */
const declaredExports: Map<string, Record<string, unknown>> = singleton("declared exports", () => new Map());

/**
 * Loads modules.
 *
 * @throws {TargetError} if a module is not found or throws while it is loading. Its cause is that
 * error.
 */
export async function loadModules(urls: readonly string[]): Promise<void> {
  await Promise.all(urls.map(loadModule));
}

/**
 * Returns whether all of `urls` are loaded. A message that names them can then be decoded at once.
 */
export function areLoaded(urls: readonly string[]): boolean {
  // Fast path: most messages do not name a module.
  return urls.length === 0 || urls.every((url) => registry.modules.has(url));
}

/** Returns an export of a loaded module; `undefined` if there is none. */
export function exportOf(module: string, name: string): unknown {
  const exports = registry.modules.get(module);
  return exports?.[name] ?? findRenamedExport(exports, declaredExports.get(module)?.[name]);
}

/** Finds an export by its value: a bundler gives the exports of a chunk short names. */
function findRenamedExport(exports: Readonly<Record<string, unknown>> | undefined, declared: unknown): unknown {
  return exports !== undefined && Object.values(exports).includes(declared) ? declared : undefined;
}

/** Records what a module exports under a name. */
export function declareExport(module: string, name: string, value: unknown): void {
  const exports = declaredExports.get(module) ?? {};
  exports[name] = value;
  declaredExports.set(module, exports);
}

/**
 * Registers a package of this library while it is loading.
 *
 * @param siblingUrl the URL of a module in the same folder as the package's `mod`
 * @returns the library module that names the package in messages
 */
export function registerLibraryModule(siblingUrl: string, name: string): string {
  registry.modules.set(name, {});
  const { href } = new URL(`./mod${siblingUrl.endsWith(".ts") ? ".ts" : ".js"}`, siblingUrl);
  const module = `${href}${LIBRARY_MARKER}${name}`;
  registry.modules.set(module, {});
  return module;
}

async function loadModule(name: string): Promise<void> {
  if (registry.modules.has(name)) return;
  const [url = name, libraryName] = name.split(LIBRARY_MARKER);
  try {
    registry.modules.set(
      name,
      registry.modules.get(libraryName ?? "") ?? (await guardImport(url, () => importExports(url))),
    );
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new TargetError(`Module "${url}" could not be loaded: ${message}`, { cause });
  }
}

/**
 * Imports a module.
 *
 * The module may be suspended at a top-level `await`. In a forked child, it may wait forever for an
 * event that only the parent receives. In the main program, it may wait for the message that names
 * the module, which would be a deadlock. The exports that the module has declared so far are then
 * used instead. If the module is already loaded, its import settles before that.
 */
async function importExports(url: string): Promise<Readonly<Record<string, unknown>>> {
  const loading: Promise<Readonly<Record<string, unknown>>> = import(url);
  const isForked = isForkedChild();
  const declared = isForked || childConfig.depth === 0 ? declaredExports.get(url) : undefined;
  if (declared === undefined) return loading;
  let cancel = (): void => {};
  const fallback = new Promise<typeof declared>((resolve) => {
    if (isForked) host.afterIo(() => host.afterIo(() => resolve(declared)));
    else cancel = host.timer(() => resolve(declared), SUSPENDED_AFTER_MS, true);
  });
  return Promise.race([loading, fallback]).finally(() => cancel());
}
