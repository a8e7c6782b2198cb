/** What goes with a message beside its bytes. */
import type { Carrier } from "../../targets/shareable.ts";

/** What a ticket does once its message is on its way. */
export type Commit = (carrier: Carrier | undefined) => void;

/** A point to which a cargo can go back. */
export interface CargoMark {
  readonly parts: number;
  readonly modules: readonly string[];
  readonly commits: number;
}

const NONE: never[] = [];
Object.freeze(NONE);
/** Lists of one module are kept, up to so many. */
const MAX_LISTS = 256;

/** The parts, modules and commits of one message. */
export class Cargo {
  /** Large binary contents, in order. */
  parts: Uint8Array[] = NONE;
  /** URLs of modules that the receiver needs; mostly one, and then the same list as for other messages. */
  modules: readonly string[] = NONE;
  #commits: Commit[] = NONE;
  #isEmpty = true;
  readonly #lists: Map<string, readonly string[]> = new Map();

  /** Takes over a large binary content and answers its number. */
  addPart(part: Uint8Array): number {
    this.#isEmpty = false;
    if (this.parts === NONE) this.parts = [];
    return this.parts.push(part) - 1;
  }

  /** Notes that the receiver needs a module. */
  need(url: string): void {
    if (this.modules.includes(url)) return;
    this.#isEmpty = false;
    this.modules = this.modules.length > 0 ? [...this.modules, url] : this.#listOf(url);
  }

  addCommit(commit: Commit): void {
    this.#isEmpty = false;
    if (this.#commits === NONE) this.#commits = [];
    this.#commits.push(commit);
  }

  /** Hands the commits over, once. */
  takeCommits(): readonly Commit[] {
    const taken = this.#commits;
    this.#commits = NONE;
    return taken;
  }

  clear(): void {
    if (this.#isEmpty) return;
    this.parts = NONE;
    this.modules = NONE;
    this.#commits = NONE;
    this.#isEmpty = true;
  }

  mark(): CargoMark {
    return { parts: this.parts.length, modules: this.modules, commits: this.#commits.length };
  }

  /** Takes back what was added since `mark`. */
  rollback(mark: CargoMark): void {
    if (this.parts.length > mark.parts) this.parts.length = mark.parts;
    this.modules = mark.modules;
    if (this.#commits.length > mark.commits) this.#commits.length = mark.commits;
  }

  #listOf(url: string): readonly string[] {
    let list = this.#lists.get(url);
    if (list === undefined) {
      if (this.#lists.size === MAX_LISTS) this.#lists.clear();
      this.#lists.set(url, (list = Object.freeze([url])));
    }
    return list;
  }
}
