/**
 * Targets: functions and classes that another process can find by a reference.
 *
 * A closure cannot be sent to another process, but a name can: the URL of a module and the name of
 * an export. `task()` and `registerClass()` name an export in its own module. `fromModule()` names
 * the exports of a module without loading it. `inline()` refers to a small function by its source
 * text. The reference is a property of the function. Its key is a registered symbol, so that all
 * copies of this package in a process read it.
 */
import { TargetError } from "../errors.ts";
import { type RegisteredClass, registry } from "../registry.ts";
import { describeValue, isClass } from "../runtime/check-options.ts";
import { declareExport, exportOf } from "./module-loader.ts";

/** Any function. */
// biome-ignore lint/suspicious/noExplicitAny: only a function of `any` accepts all parameter types
export type AnyFunction = (...args: any[]) => unknown;

/**
 * A function that another process can find: made by {@link task}, {@link fromModule} or
 * {@link inline}.
 */
export type Target<F extends AnyFunction = AnyFunction> = F;

/**
 * The targets that {@link fromModule} makes for a module of type `M`: its functions and classes.
 * Other exports are left out, because their values are not known without loading the module.
 */
export type ModuleTargets<M extends object> = {
  readonly [K in keyof M as M[K] extends AnyFunction | (abstract new (...args: never[]) => unknown) ? K : never]: M[K];
};

/**
 * The reference by which another process finds a target: a module and an export, or source text.
 */
export type TargetReference =
  | { readonly module: string; readonly name: string }
  | { readonly source: string; readonly captured: Readonly<Record<string, unknown>>; readonly name: string };

const TARGET_REFERENCE: unique symbol = Symbol.for("multiproc.target") as never;
/** Marks the functions of `fromModule()`, which cannot be called. */
const STUB: unique symbol = Symbol.for("multiproc.stub") as never;

const TASK_EXAMPLE = "export const work = task(import.meta.url, function work(…) {…})";

/**
 * Marks `fn` as an export of its module, so that other processes find it, and returns `fn` itself.
 *
 * @param moduleUrl the module's own `import.meta.url`
 * @param fn the function. It is called as usual in this process.
 * @param exportName the name under which the module exports it
 * @default exportName fn.name
 * @throws {TargetError} if there is no name, or if another process could not load the URL
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
export function task<F extends AnyFunction>(moduleUrl: string | URL, fn: F, exportName?: string): F {
  requireModuleFirst("task()", moduleUrl, TASK_EXAMPLE);
  if (typeof fn !== "function")
    throw new TypeError(`task() takes a function as its second argument, not ${describeValue(fn)}: ${TASK_EXAMPLE}`);
  const name = checkExportName("task()", exportName ?? fn.name);
  const module = checkModuleUrl("task()", moduleUrl);
  declareExport(module, name, fn);
  return setReference(fn, { module, name });
}

/**
 * Names the exports of a module without loading it. Each property is a target for the export of
 * that name.
 *
 * @param moduleUrl the URL of the module, such as `new URL("./images.ts", import.meta.url)`
 * @throws {TargetError} if another process could not load the URL
 *
 * @example A target whose module this process never loads
 * ```ts
 * import { fromModule } from "@multiproc/core";
 *
 * const { join } = fromModule<typeof import("node:path")>("node:path");
 * console.log(typeof join); // "function"
 * ```
 */
export function fromModule<M extends object>(moduleUrl: string | URL): ModuleTargets<M> {
  const module = checkModuleUrl("fromModule()", moduleUrl);
  const stubs = new Map<string, AnyFunction>();
  return new Proxy(Object.create(null), {
    get(_, name) {
      // A `then` method would make `await` take the result for a promise.
      if (typeof name !== "string" || name === "then") return undefined;
      let stub = stubs.get(name);
      if (stub === undefined) {
        stub = makeStub(module, name);
        stubs.set(name, stub);
      }
      return stub;
    },
  }) as ModuleTargets<M>;
}

function makeStub(module: string, name: string): AnyFunction {
  const stub = (): never => {
    throw new TargetError(
      `"${name}" of "${module}" cannot be called here, because fromModule() only names it: ` +
        "pass it to a Process or a Pool, or import it to call it",
    );
  };
  Object.defineProperty(stub, STUB, { value: true });
  return setReference(stub, { module, name });
}

/**
 * Marks a small function whose source text can be sent. It may use its parameters, globals, and the
 * values named in `captured`, but no other variables around it.
 *
 * @param fn the function, written in place
 * @param captured the values that `fn` uses by name. They are sent with it.
 * @throws {TargetError} if the source text is not available, as for a native or bound function or a
 * method
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
  if (typeof fn !== "function")
    throw new TypeError(`inline() takes a function, not ${describeValue(fn)}: inline((x) => x * 2)`);
  if (typeof captured !== "object" || captured === null || Array.isArray(captured)) {
    throw new TypeError(
      `inline() takes the captured values as one object, such as { factor }, not ${describeValue(captured)}`,
    );
  }
  for (const name of Object.keys(captured)) {
    if (!/^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name))
      throw new TargetError(`inline() cannot capture "${name}": it is not the name of a variable`);
  }
  return setReference(fn, { source: readSource(fn), captured, name: fn.name });
}

/**
 * Returns the source text of a function. It must stand alone as an expression, which that of a
 * method does not.
 */
function readSource(fn: AnyFunction): string {
  const source = Function.prototype.toString.call(fn);
  if (/\{\s*\[native code\]\s*\}\s*$/.test(source)) {
    throw new TargetError(
      `inline() cannot read the source of "${fn.name}", because it is native or bound: write the function in place`,
    );
  }
  if (isClass(fn)) {
    throw new TypeError(
      `inline() takes a function, not the class ${fn.name}: export the class and call registerClass()`,
    );
  }
  try {
    new Function(`return (${source}\n);`);
    return source;
  } catch (cause) {
    throw new TargetError(
      `inline() cannot use "${fn.name}": write it as an arrow function or a function expression, not as a method`,
      { cause },
    );
  }
}

/**
 * Registers a class, so that its instances arrive as instances in other processes. Their own
 * properties are sent. The receiver does not call the constructor.
 *
 * @param moduleUrl the `import.meta.url` of the module that defines, exports and registers the
 * class
 * @param Class the class
 * @param exportName the name under which the module exports it
 * @default exportName Class.name
 * @throws {TargetError} if the class has no name, or if another process could not load the URL
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
  exportName?: string,
): void {
  const example = "registerClass(import.meta.url, Point)";
  requireModuleFirst("registerClass()", moduleUrl, example);
  if (typeof Class !== "function" || typeof Class.prototype !== "object")
    throw new TypeError(
      `registerClass() takes a class as its second argument, not ${describeValue(Class)}: ${example}`,
    );
  const entry: RegisteredClass = {
    name: checkExportName("registerClass()", exportName ?? Class.name),
    module: checkModuleUrl("registerClass()", moduleUrl),
    constructor: Class,
  };
  declareExport(entry.module, entry.name, Class);
  registry.classes.set(`${entry.module}#${entry.name}`, entry);
  registry.classesByPrototype.set(Class.prototype, entry);
}

/** Returns the reference of a function; `undefined` if the function is not a target. */
export function targetOf(fn: AnyFunction): TargetReference | undefined {
  return (fn as { [TARGET_REFERENCE]?: TargetReference })[TARGET_REFERENCE];
}

/**
 * Returns whether a call of `fn` in this process does the same as its target in another process. It
 * does not for a stub of `fromModule()`, which throws. A function of `inline()` may see other
 * variables here.
 */
export function isLocal(fn: AnyFunction): boolean {
  const reference = targetOf(fn);
  return reference === undefined || ("module" in reference && (fn as { [STUB]?: true })[STUB] !== true);
}

/**
 * Returns the reference of a target. @throws {TargetError} for any other function: the message says
 * how to make one
 */
export function requireTarget(fn: unknown, call: string): TargetReference {
  if (typeof fn !== "function") throw new TypeError(`${call} takes a function, not ${describeValue(fn)}`);
  const reference = targetOf(fn as AnyFunction);
  if (reference !== undefined) return reference;
  throw new TargetError(
    `${call} cannot use ${fn.name === "" ? "an anonymous function" : `"${fn.name}"`}: another process could not find it. ` +
      `Export it as task(import.meta.url, function ${fn.name === "" ? "name" : fn.name}(…) {…}), name it with ` +
      `fromModule(new URL("./tasks.ts", import.meta.url)), or wrap a small self-contained one as inline(…)`,
  );
}

/**
 * Returns the function of a reference. Its module must be loaded.
 *
 * @throws {TargetError} if the module has no such export, or if the source text does not compile
 */
export function resolveTarget(reference: TargetReference): AnyFunction {
  if ("source" in reference) return compileInline(reference);
  const { module, name } = reference;
  const found = exportOf(module, name);
  if (typeof found === "function") {
    // With the reference, this process can send the function to others.
    if (targetOf(found as AnyFunction) === undefined && Object.isExtensible(found))
      setReference(found as AnyFunction, reference);
    return found as AnyFunction;
  }
  if (!registry.modules.has(module)) throw new TargetError(`Module "${module}" has not been loaded`);
  throw new TargetError(
    found === undefined
      ? `Module "${module}" has no export "${name}"`
      : `Export "${name}" of module "${module}" is not a function but ${typeof found}`,
  );
}

/**
 * Compiles a function of `inline()`. Its source text came over a channel that only trusted
 * processes can write to.
 */
function compileInline(reference: Extract<TargetReference, { source: string }>): AnyFunction {
  const { source, captured, name } = reference;
  try {
    const make = new Function(...Object.keys(captured), `"use strict"; return (${source}\n);`);
    return setReference(make(...Object.values(captured)) as AnyFunction, reference);
  } catch (cause) {
    throw new TargetError(`inline() function "${name}" cannot be compiled from its source text`, { cause });
  }
}

/** Throws if the URL is missing, which is a common mistake: `task(function work() {…})`. */
function requireModuleFirst(call: string, moduleUrl: unknown, example: string): void {
  if (typeof moduleUrl === "function")
    throw new TypeError(`${call} takes the URL of its module first, then ${describeValue(moduleUrl)}: ${example}`);
}

function checkExportName(call: string, name: unknown): string {
  if (typeof name !== "string")
    throw new TypeError(`${call} takes the name of the export as its third argument, not ${describeValue(name)}`);
  if (name !== "") return name;
  throw new TargetError(
    `${call} needs the name under which the module exports this anonymous value: pass it as the third argument`,
  );
}

function checkModuleUrl(call: string, moduleUrl: unknown): string {
  let url: URL;
  try {
    url = new URL(moduleUrl as string | URL);
  } catch (cause) {
    const advice = urlAdvice(moduleUrl);
    throw new TargetError(`${call} takes the URL of a module, not ${describeValue(moduleUrl)}: write ${advice}`, {
      cause,
    });
  }
  if (url.protocol !== "blob:") return url.href;
  throw new TargetError(`${call} cannot use "${url.href}": other processes cannot load a blob of this one`);
}

/** Returns what to write instead of a value that is not a URL. */
function urlAdvice(moduleUrl: unknown): string {
  if (typeof moduleUrl !== "string") return 'import.meta.url, or new URL("./tasks.ts", import.meta.url)';
  if (moduleUrl.startsWith("/")) return "pathToFileURL(path) of node:url";
  return `new URL(${JSON.stringify(moduleUrl)}, import.meta.url)`;
}

function setReference<F extends AnyFunction>(fn: F, reference: TargetReference): F {
  Object.defineProperty(fn, TARGET_REFERENCE, { value: reference, configurable: true });
  return fn;
}
