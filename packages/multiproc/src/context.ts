/** `getContext()`: the processes, pools and primitives of this library under one start method. */
import * as core from "@multiproc/core";
import * as pipes from "@multiproc/pipe";
import * as pools from "@multiproc/pool";
import * as processes from "@multiproc/process";
import * as queues from "@multiproc/queue";
import * as memories from "@multiproc/shared-memory";
import { getStartMethod, requireStartMethod, type StartMethod, StartMethodError } from "@multiproc/start-methods";
import * as syncs from "@multiproc/sync";

/**
 * The exports of this library except those of start methods, with a `Process` and a `Pool` of one
 * start method; see {@link getContext}.
 */
export type Context = typeof core &
  typeof memories &
  typeof pipes &
  typeof pools &
  typeof processes &
  typeof queues &
  typeof syncs & {
    /** Returns the start method of the processes of this context. */
    getStartMethod(): StartMethod;
  };

const contexts = new Map<StartMethod, Context>();

/**
 * Returns this library bound to one start method, so that libraries in one program can use
 * different ones. A `Process` or `Pool` of the context uses that method, whatever
 * `setStartMethod()` says.
 *
 * @param method one of `getAllStartMethods()`; without it, the context follows `setStartMethod()`
 * @throws {StartMethodError} if the method is not available here
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
      Pool: bindToMethod("Pool", pools.Pool, method, (options) =>
        typeof options === "number" ? { processes: options } : options,
      ),
      getStartMethod: () => method,
    };
    contexts.set(method, context);
  }
  return context;
}

/**
 * Returns a class whose constructor adds a start method to the options. Instances are those of the
 * class itself, so `instanceof` works with both.
 *
 * @param toOptions turns the first argument of the constructor into options, if it is something else
 */
// biome-ignore lint/suspicious/noExplicitAny: a class of any parameters
function bindToMethod<C extends new (...args: any[]) => object>(
  name: string,
  Class: C,
  method: StartMethod,
  toOptions: (options: unknown) => unknown = (options) => options,
): C {
  const bound: C = new Proxy(Class, {
    construct(target, [options, ...rest], newTarget) {
      const instanceClass = newTarget === bound ? target : newTarget;
      const given = toOptions(options === undefined ? {} : options);
      // The constructor itself refuses an argument that is not an object.
      if (typeof given !== "object" || given === null)
        return Reflect.construct(target, [options, ...rest], instanceClass);
      const { startMethod = method } = given as { startMethod?: StartMethod };
      if (startMethod !== method) {
        throw new StartMethodError(
          `new ${name}() of the context "${method}" cannot use start method "${startMethod}": take it from getContext("${startMethod}")`,
        );
      }
      // The copy keeps the prototype, so that the constructor can refuse an object that is not plain.
      const withMethod = Object.assign(Object.create(Object.getPrototypeOf(given)), given, { startMethod });
      return Reflect.construct(target, [withMethod, ...rest], instanceClass);
    },
  });
  return bound;
}
