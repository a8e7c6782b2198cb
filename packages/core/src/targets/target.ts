/**
 * How a function is named across processes.
 *
 * A closure cannot leave its process, a name can: the module that exports the function and the export's name. `task()`
 * marks a function with its own name, `fromModule()` makes names of exports without loading their module, and `inline()`
 * carries the source text of a small function that needs no module. The mark is a property under a well-known symbol, so
 * that it holds across copies of this package.
 */
import { TargetError } from "../errors.ts";
import { host } from "../host/mod.ts";
import { type RegisteredClass, registry, singleton } from "../registry.ts";
import { isForkedChild } from "../runtime/at-fork.ts";

/** Any function at all. */
// biome-ignore lint/suspicious/noExplicitAny: functions of all parameters are assignable to it only so
export type AnyFunction = (...args: any[]) => unknown;

/** A function that can be named in another process: made by {@link task}, {@link fromModule} or {@link inline}. */
export type Target<F extends AnyFunction = AnyFunction> = F;

/** How a target is found in another process: by its module, or by its own source text. */
export type TargetReference =
  | { readonly module: string; readonly name: string }
  | { readonly source: string; readonly captured: Readonly<Record<string, unknown>>; readonly name: string };

const TARGET_REFERENCE: unique symbol = Symbol.for("multiproc.target") as never;
/** On functions that only name one of another module. */
const STUB: unique symbol = Symbol.for("multiproc.stand-in") as never;

/** The exports that modules of this process have named themselves, by URL and name. */
const declaredExports: Map<string, Record<string, unknown>> = singleton("declared exports", () => new Map());

/**
 * Marks `fn` as an export of its module, so that other processes can find it, and returns `fn` itself.
 *
 * @param moduleUrl the module's own `import.meta.url`
 * @param fn the function; it is called as usual in this process
 * @param exportName the name under which the module exports it
 * @default exportName fn.name
 * @throws {TargetError} if there is no name, or the URL is not one that another process could load
 *
 * @example A task in a module of its own
 * ```ts
 * import { task } from "@multiproc/core";
 *
 * export const square = task(import.meta.url, function square(x: number) {
 *   return x * x;
 * });
 * console.log(square(7)); // 49: still a plain function
 * ```
 */
export function task<F extends AnyFunction>(moduleUrl: string | URL, fn: F, exportName: string = fn.name): F {
  if (typeof fn !== "function") throw new TypeError(`task() takes a function as its second argument, not ${typeof fn}`);
  const module = checkedModule("task()", moduleUrl);
  if (exportName === "") {
    throw new TargetError(
      "task() needs the name under which the module exports the function: give it as the third argument",
    );
  }
  declareExport(module, exportName, fn);
  return mark(fn, { module, name: exportName });
}

/**
 * Names the exports of a module without loading it here: each property is a target for that export.
 *
 * @param moduleUrl where the module is, as `new URL("./images.ts", import.meta.url)`
 * @throws {TargetError} if the URL is not one that another process could load
 *
 * @example A target whose module this process never loads
 * ```ts
 * import { fromModule } from "@multiproc/core";
 *
 * const { join } = fromModule<typeof import("node:path")>("node:path");
 * console.log(typeof join); // "function"
 * ```
 */
export function fromModule<M extends object>(moduleUrl: string | URL): M {
  const module = checkedModule("fromModule()", moduleUrl);
  const stubs = new Map<string, AnyFunction>();
  return new Proxy(Object.create(null), {
    get(_, name) {
      // `then` would make the whole look like a promise to `await`.
      if (typeof name !== "string" || name === "then") return undefined;
      let target = stubs.get(name);
      if (target === undefined) {
        target = mark(
          () => {
            throw new TargetError(
              `"${name}" of "${module}" is only named here: give it to a Process or a Pool, or import it to call it`,
            );
          },
          { module, name },
        );
        Object.defineProperty(target, STUB, { value: true });
        stubs.set(name, target);
      }
      return target;
    },
  }) as M;
}

/**
 * Marks a small function as one whose source text can travel: it uses its parameters, what is global, and what is named in
 * `captured`, nothing else from around it.
 *
 * @param fn the function, written in place
 * @param captured the values that `fn` uses by name; they are sent with it
 * @throws {TargetError} if the source text is not to be had, as for a native or bound function or a method
 *
 * @example A function that uses one value from around it
 * ```ts
 * import { inline } from "@multiproc/core";
 *
 * const factor = 3;
 * const triple = inline((x: number) => x * factor, { factor });
 * console.log(triple(14)); // 42
 * ```
 */
export function inline<F extends AnyFunction>(fn: F, captured: Readonly<Record<string, unknown>> = {}): F {
  if (typeof fn !== "function") throw new TypeError(`inline() takes a function, not ${typeof fn}`);
  const source = Function.prototype.toString.call(fn);
  if (/\{\s*\[native code\]\s*\}\s*$/.test(source)) {
    throw new TargetError(
      `inline() cannot read the source of "${fn.name}": it is native or bound. Write the function in place`,
    );
  }
  for (const name of Object.keys(captured)) {
    if (!/^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name))
      throw new TargetError(`inline() cannot capture "${name}": it is no variable name`);
  }
  return mark(fn, { source: checkedSource(source, fn.name), captured, name: fn.name });
}

/**
 * Registers a class, so that its instances cross processes as instances: their own fields travel, the constructor is not
 * called at the other side.
 *
 * @param moduleUrl the `import.meta.url` of the module that defines, exports and registers the class
 * @param Class the class
 * @param exportName the name under which the module exports it
 * @default exportName Class.name
 * @throws {TargetError} if the class has no name, or the URL is not one that another process could load
 *
 * @example A class whose instances can be sent
 * ```ts
 * import { registerClass } from "@multiproc/core";
 *
 * export class Point {
 *   x = 0;
 *   y = 0;
 * }
 * registerClass(import.meta.url, Point);
 * ```
 */
export function registerClass(
  moduleUrl: string | URL,
  Class: abstract new (...args: never[]) => object,
  exportName: string = Class.name,
): void {
  if (typeof Class !== "function" || typeof Class.prototype !== "object") {
    throw new TypeError("registerClass() takes a class as its second argument");
  }
  if (exportName === "")
    throw new TargetError("registerClass() needs the name under which the module exports the class");
  const entry: RegisteredClass = {
    module: checkedModule("registerClass()", moduleUrl),
    name: exportName,
    constructor: Class,
  };
  declareExport(entry.module, entry.name, Class);
  registry.classes.set(`${entry.module}#${entry.name}`, entry);
  registry.classesByPrototype.set(Class.prototype, entry);
}

/** The reference that a function carries, if it is a target. */
export function targetOf(fn: AnyFunction): TargetReference | undefined {
  return (fn as { [TARGET_REFERENCE]?: TargetReference })[TARGET_REFERENCE];
}

/** Whether a function itself is here; `fromModule()` gives others, and `inline()` one that may see other values here. */
export function isLocal(fn: AnyFunction): boolean {
  const reference = targetOf(fn);
  return reference === undefined || ("module" in reference && (fn as { [STUB]?: true })[STUB] !== true);
}

/** The reference of a function that must be a target; refuses any other in words that show the ways. */
export function requireTarget(fn: unknown, call: string): TargetReference {
  if (typeof fn !== "function")
    throw new TypeError(`${call} takes a function, not ${fn === null ? "null" : typeof fn}`);
  const reference = targetOf(fn as AnyFunction);
  if (reference !== undefined) return reference;
  throw new TargetError(
    `${call} cannot use ${fn.name === "" ? "an anonymous function" : `"${fn.name}"`}: another process could not find it. ` +
      `Export it as task(import.meta.url, function ${fn.name === "" ? "name" : fn.name}(…) {…}), name it with ` +
      `fromModule(new URL("./tasks.ts", import.meta.url)), or wrap a small self-contained one as inline(…)`,
  );
}

/**
 * Loads the modules that a message names, before it is decoded.
 *
 * @throws {TargetError} for a module that cannot be found or throws while loading, with that as its cause
 */
export async function loadModules(urls: readonly string[]): Promise<void> {
  await Promise.all(urls.map(loadModule));
}

/** Whether all of `urls` have been loaded, so that a message that names them can be decoded at once. */
export function areLoaded(urls: readonly string[]): boolean {
  // Most messages need none.
  return urls.length === 0 || urls.every((url) => registry.modules.has(url));
}

/**
 * The function that a reference names; its module has been loaded before.
 *
 * @throws {TargetError} if the module has no such export, or the source text is no function
 */
export function resolveTarget(reference: TargetReference): AnyFunction {
  if ("source" in reference) return compileInline(reference);
  const { module, name } = reference;
  const exports = registry.modules.get(module);
  const found = exports?.[name] ?? findRenamedExport(exports, declaredExports.get(module)?.[name]);
  if (typeof found === "function") {
    // A function that was found by its name can be passed on by it.
    if (targetOf(found as AnyFunction) === undefined && Object.isExtensible(found))
      mark(found as AnyFunction, reference);
    return found as AnyFunction;
  }
  if (exports === undefined) throw new TargetError(`Module "${module}" has not been loaded`);
  throw new TargetError(
    found === undefined
      ? `Module "${module}" has no export "${name}"`
      : `Export "${name}" of module "${module}" is not a function but ${typeof found}`,
  );
}

/** Bundlers give the exports of a chunk short names; a function that `task()` has marked is known all the same. */
function findRenamedExport(exports: Readonly<Record<string, unknown>> | undefined, marked: unknown): unknown {
  return exports !== undefined && Object.values(exports).includes(marked) ? marked : undefined;
}

/**
 * What a part of this library is called in messages: the URL of its `mod`, and its name, by which a process finds it that has
 * that part already, from wherever it may have come there. Called when the part is loaded.
 *
 * @param beside the URL of a module beside its `mod`
 */
export function registerLibraryModule(siblingUrl: string, name: string): string {
  registry.modules.set(name, {});
  const { href } = new URL(`./mod${siblingUrl.endsWith(".ts") ? ".ts" : ".js"}`, siblingUrl);
  const module = `${href}${LIBRARY_MARKER}${name}`;
  registry.modules.set(module, {});
  return module;
}

/** Stands between the URL and the name of a part of this library. */
const LIBRARY_MARKER = "#multiproc:";

async function loadModule(name: string): Promise<void> {
  if (registry.modules.has(name)) return;
  const [url = name, libraryName] = name.split(LIBRARY_MARKER);
  try {
    registry.modules.set(name, registry.modules.get(libraryName ?? "") ?? (await exportsOf(url)));
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new TargetError(`Module "${url}" could not be loaded: ${message}`, { cause });
  }
}

/**
 * The exports of a module. In a copy of a process it may be one that was waiting at its top level, for what comes in the parent
 * alone: that has named what others may ask for, and is taken as it is. One that is loaded already is there at once.
 */
async function exportsOf(url: string): Promise<Readonly<Record<string, unknown>>> {
  const loading: Promise<Readonly<Record<string, unknown>>> = import(url);
  const declaredHere = isForkedChild() ? declaredExports.get(url) : undefined;
  if (declaredHere === undefined) return loading;
  const fallback = new Promise<typeof declaredHere>((resolve) =>
    host.afterIo(() => host.afterIo(() => resolve(declaredHere))),
  );
  return Promise.race([loading, fallback]);
}

function declareExport(module: string, name: string, value: unknown): void {
  const exports = declaredExports.get(module) ?? {};
  exports[name] = value;
  declaredExports.set(module, exports);
}

/** The text comes from `inline()` in the process that started this one, over a channel that only it can write to. */
function compileInline(reference: Extract<TargetReference, { source: string }>): AnyFunction {
  const { source, captured, name } = reference;
  try {
    const make = new Function(...Object.keys(captured), `"use strict"; return (${source}\n);`);
    return mark(make(...Object.values(captured)) as AnyFunction, reference);
  } catch (cause) {
    throw new TargetError(`inline() function "${name}" cannot be built from its source text`, { cause });
  }
}

/** Finds out at the call whether the text stands alone as an expression: a method's does not. */
function checkedSource(source: string, name: string): string {
  try {
    new Function(`return (${source}\n);`);
    return source;
  } catch (cause) {
    throw new TargetError(
      `inline() cannot use "${name}": write it as an arrow function or a function expression, not as a method`,
      { cause },
    );
  }
}

function checkedModule(call: string, moduleUrl: string | URL): string {
  let url: URL;
  try {
    url = new URL(moduleUrl);
  } catch (cause) {
    throw new TargetError(`${call} takes the URL of a module, such as import.meta.url, not "${String(moduleUrl)}"`, {
      cause,
    });
  }
  if (url.protocol === "blob:")
    throw new TargetError(`${call} cannot use "${url.href}": a blob is known to this process alone`);
  return url.href;
}

function mark<F extends AnyFunction>(fn: F, reference: TargetReference): F {
  Object.defineProperty(fn, TARGET_REFERENCE, { value: reference, configurable: true });
  return fn;
}
