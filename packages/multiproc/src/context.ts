/** All of this library, bound to one start method. */
import * as core from "@multiproc/core";
import * as pipes from "@multiproc/pipe";
import * as pools from "@multiproc/pool";
import * as processes from "@multiproc/process";
import * as queues from "@multiproc/queue";
import * as memories from "@multiproc/shared-memory";
import { getStartMethod, requireStartMethod, type StartMethod, StartMethodError } from "@multiproc/start-methods";
import * as syncs from "@multiproc/sync";

/** All of this library, with `Process` and `Pool` bound to one start method; see {@link getContext}. */
export type Context = typeof core &
  typeof memories &
  typeof pipes &
  typeof pools &
  typeof processes &
  typeof queues &
  typeof syncs & {
    /** The start method of its processes. */
    getStartMethod(): StartMethod;
  };

const contexts = new Map<StartMethod, Context>();

/**
 * All of this library bound to one start method, so that libraries in one program can use different ones: a `Process` or `Pool`
 * of the context is started by it, whatever the program has set.
 *
 * @param method one of `getAllStartMethods()`; without it, the context follows `setStartMethod()`
 * @throws {StartMethodError} if the method is not to be had here
 *
 * @example
 * ```ts
 * // file: tasks.ts
 * import { task } from "multiproc";
 *
 * export const square = task(import.meta.url, function square(x: number) {
 *   return x * x;
 * });
 * // file: main.ts
 * import { getContext } from "multiproc";
 * import { square } from "./tasks.ts";
 *
 * const { Pool } = getContext("forkserver");
 * await using pool = new Pool({ processes: 2 });
 * console.log(await pool.map(square, [1, 2, 3])); // [ 1, 4, 9 ]
 * ```
 */
export function getContext(method?: StartMethod): Context {
  if (method === undefined)
    return { ...core, ...memories, ...pipes, ...pools, ...processes, ...queues, ...syncs, getStartMethod };
  requireStartMethod(method);
  let context = contexts.get(method);
  if (context === undefined) {
    context = {
      ...getContext(),
      Process: bindToMethod("Process", processes.Process, method),
      Pool: bindToMethod("Pool", pools.Pool, method),
      getStartMethod: () => method,
    };
    contexts.set(method, context);
  }
  return context;
}

/** The class itself, as far as `instanceof` and its subclasses can tell, whose instances have that start method. */
// biome-ignore lint/suspicious/noExplicitAny: a class of any parameters
function bindToMethod<C extends new (...args: any[]) => object>(name: string, Class: C, method: StartMethod): C {
  const bound: C = new Proxy(Class, {
    construct(target, [options], newTarget) {
      const { startMethod = method } = (options ?? {}) as { startMethod?: StartMethod };
      if (startMethod !== method) {
        throw new StartMethodError(
          `${name} of the context "${method}" cannot have the start method "${startMethod}": take it from getContext("${startMethod}")`,
        );
      }
      return Reflect.construct(target, [{ ...(options ?? {}), startMethod }], newTarget === bound ? target : newTarget);
    },
  });
  return bound;
}
