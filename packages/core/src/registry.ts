/**
 * What every copy of core in one process shares.
 *
 * Two versions of a dependency can bring two copies of this package into one process. Live objects, registered classes
 * and loaded modules must be the same for both, so they hang on one object under a well-known symbol. The protocol number
 * says what that object and the frames between processes look like; copies that disagree refuse each other in words.
 */

/** The version of frames, handshakes and of the shared registry. */
export const PROTOCOL = 1;

/** A class whose instances cross as themselves, see `registerClass`. */
export interface RegisteredClass {
  readonly module: string;
  readonly name: string;
  readonly constructor: abstract new (...args: never[]) => object;
}

/** The class of an error. */
export type ErrorClass = abstract new (...args: never[]) => Error;

interface Registry {
  readonly protocol: number;
  /** Classes by `module#name`. */
  readonly classes: Map<string, RegisteredClass>;
  /** The same classes by their prototype, for the encoder. */
  readonly classesByPrototype: WeakMap<object, RegisteredClass>;
  /** The error classes of this library by the name under which they cross; each package adds its own. */
  readonly errors: Map<string, ErrorClass>;
  /** The same names by the classes' prototypes. */
  readonly errorNames: WeakMap<object, string>;
  /** What rebuilds a live object (connection, queue …) from its ticket, by kind. */
  readonly revivers: Map<string, (data: unknown) => object>;
  /** Modules that were loaded because a target or a value named them, by URL. */
  readonly modules: Map<string, Readonly<Record<string, unknown>>>;
  /** Things of which a process has one, by the name of the part that owns them. */
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
      `Two versions of @multiproc/core that do not fit together are loaded (protocols ${found.protocol} and ${PROTOCOL}): install one version of it`,
    );
  }
  return found;
}

/** The registry of this process. */
export const registry: Registry = openRegistry();

/** The thing of which this process has one; made at the first call, whichever copy of core asks. */
export function singleton<T>(name: string, make: () => T): T {
  if (!registry.singletons.has(name)) registry.singletons.set(name, make());
  return registry.singletons.get(name) as T;
}

/** Makes error classes of this library known, so that their instances arrive as such where the same classes are loaded. */
export function registerErrors(classes: Readonly<Record<string, ErrorClass>>): void {
  for (const [name, Class] of Object.entries(classes)) {
    registry.errors.set(`multiproc:${name}`, Class);
    registry.errorNames.set(Class.prototype, `multiproc:${name}`);
  }
}
