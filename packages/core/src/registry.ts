/**
 * The registry: the state that all copies of this package in one process share.
 *
 * Two versions of a dependency can bring two copies of this package into a process. Both must see
 * the same shareable objects, registered classes and loaded modules. One object under a registered
 * symbol (`Symbol.for()`) therefore holds them all. The protocol version describes that object and
 * the frames between processes. Copies with different versions refuse to work together.
 */

/** The protocol version of frames, handshakes and the registry. */
export const PROTOCOL = 1;

/** A class whose instances arrive as instances of that class, see `registerClass()`. */
export interface RegisteredClass {
  readonly module: string;
  readonly name: string;
  readonly constructor: abstract new (...args: never[]) => object;
}

/** An error class. */
export type ErrorClass = abstract new (...args: never[]) => Error;

interface Registry {
  readonly protocol: number;
  /** Registered classes, by `module#name`. */
  readonly classes: Map<string, RegisteredClass>;
  /** The same classes by prototype, for the encoder. */
  readonly classesByPrototype: WeakMap<object, RegisteredClass>;
  /** The error classes of this library, by their name in messages. Each package adds its own. */
  readonly errors: Map<string, ErrorClass>;
  /** The same names by the prototype of the class. */
  readonly errorNames: WeakMap<object, string>;
  /** Functions that make a shareable object from the data of its handle, by kind. */
  readonly revivers: Map<string, (data: unknown) => object>;
  /** The exports of modules that were loaded for a target or a value, by URL. */
  readonly modules: Map<string, Readonly<Record<string, unknown>>>;
  /** Objects that a process has once, by name; see {@link singleton}. */
  readonly singletons: Map<string, unknown>;
}

const REGISTRY_KEY: unique symbol = Symbol.for("multiproc.registry") as never;

function openRegistry(): Registry {
  const shared = globalThis as { [REGISTRY_KEY]?: Registry };
  const found = shared[REGISTRY_KEY];
  if (found === undefined) {
    return (shared[REGISTRY_KEY] = {
      protocol: PROTOCOL,
      classes: new Map(),
      classesByPrototype: new WeakMap(),
      errors: new Map(),
      errorNames: new WeakMap(),
      revivers: new Map(),
      modules: new Map(),
      singletons: new Map(),
    });
  }
  if (found.protocol !== PROTOCOL) {
    throw new Error(
      `Incompatible versions of @multiproc/core are loaded (protocols ${found.protocol} and ${PROTOCOL}): install one version`,
    );
  }
  return found;
}

/** The registry of this process. */
export const registry: Registry = openRegistry();

/**
 * Returns the object with a name, which exists once in this process. The first call creates it with
 * `make`, whichever copy of this package calls.
 */
export function singleton<T>(name: string, make: () => T): T {
  if (!registry.singletons.has(name)) registry.singletons.set(name, make());
  return registry.singletons.get(name) as T;
}

/**
 * Registers error classes of this library. Their instances arrive as instances in processes that
 * registered them too.
 */
export function registerErrors(classes: Readonly<Record<string, ErrorClass>>): void {
  for (const [name, Class] of Object.entries(classes)) {
    registry.errors.set(`multiproc:${name}`, Class);
    registry.errorNames.set(Class.prototype, `multiproc:${name}`);
  }
}
