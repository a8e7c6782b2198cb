/** The functions that a worker has received from its pool. */
import { type AnyFunction, TargetError } from "@multiproc/core";
import { decodeMessage, type Frame, loadModules, resolveTarget, type TargetReference } from "@multiproc/core/internal";
import { EVICT_FUNCTION, FUNCTION_UNSENDABLE, USE_FUNCTION } from "../protocol.ts";

/** A function that is ready to be called. */
export interface LoadedFunction {
  readonly name: string;
  readonly fn: AnyFunction;
}

/**
 * Keeps the functions of a worker by their number. A function is loaded when its first task runs:
 * its module may end the process as it loads, and the pool then knows which task to blame.
 */
export class FunctionCache {
  readonly #frames: Map<number, Frame> = new Map();
  readonly #loaded: Map<number, LoadedFunction> = new Map();
  #currentId = 0;

  /** The function of the next tasks. */
  get currentId(): number {
    return this.#currentId;
  }

  /** Handles a message about a function. */
  handle(frame: Frame): void {
    if (frame.kind === USE_FUNCTION) this.#currentId = decodeMessage(frame) as number;
    else if (frame.kind === EVICT_FUNCTION) this.#evict(decodeMessage(frame) as number);
    else this.#frames.set(this.#currentId, frame);
  }

  /** Returns a function that was loaded before. */
  get(id: number): LoadedFunction | undefined {
    return this.#loaded.get(id);
  }

  /**
   * Loads a function.
   *
   * @throws {TargetError} if it cannot be found; an error of its module is the cause
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
