/**
 * Returns a built-in module of Node, and loads it at the first call. Deno has these modules for
 * compatibility only, and takes some milliseconds to load the first one.
 */
export function builtin<M>(name: string): M {
  return process.getBuiltinModule(`node:${name}`) as M;
}
