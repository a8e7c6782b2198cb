/** The functions of a worker. */
import { type AnyFunction, TargetError } from "@multiproc/core";
import { decodeMessage, type Frame, loadModules, resolveTarget, type TargetReference } from "@multiproc/core/internal";
import { EVICT_FUNCTION, FUNCTION_UNSENDABLE, USE_FUNCTION } from "../protocol.ts";

/** A function in a worker. */
export interface LoadedFunction {
  readonly name: string;
  readonly fn: AnyFunction;
}

/**
 * Keeps what the pool names. A function is looked for when the first task that needs it has begun: loading its module may end
 * the process, and then it is known what the worker was at.
 */
export class FunctionCache {
  readonly #frames: Map<number, Frame> = new Map();
  readonly #loaded: Map<number, LoadedFunction> = new Map();
  #currentId = 0;

  /** The function of the tasks that come next. */
  get currentId(): number {
    return this.#currentId;
  }

  /** Takes a message about a function. */
  handle(frame: Frame): void {
    if (frame.kind === USE_FUNCTION) this.#currentId = decodeMessage(frame) as number;
    else if (frame.kind === EVICT_FUNCTION) this.#evict(decodeMessage(frame) as number);
    else this.#frames.set(this.#currentId, frame);
  }

  /** The function, if it was looked for before. */
  get(id: number): LoadedFunction | undefined {
    return this.#loaded.get(id);
  }

  /**
   * Looks for a function.
   *
   * @throws {TargetError} if it cannot be found, with what its module threw as the cause
   */
  async load(id: number): Promise<LoadedFunction> {
    const frame = this.#frames.get(id);
    if (frame === undefined) throw new TargetError("The function of this task was not sent with it");
    await loadModules(frame.modules);
    const content = decodeMessage(frame);
    if (frame.kind === FUNCTION_UNSENDABLE) throw content;
    const reference = content as TargetReference;
    if ("module" in reference) await loadModules([reference.module]);
    const loaded = { name: reference.name, fn: resolveTarget(reference) };
    this.#loaded.set(id, loaded);
    return loaded;
  }

  #evict(id: number): void {
    this.#frames.delete(id);
    this.#loaded.delete(id);
  }
}
