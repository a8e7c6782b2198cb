/** What goes with a message beside its bytes. */
import type { DeliveryScope } from "../../targets/shareable.ts";

/** What a ticket does once its message is on its way. */
export type Commit = (scope: DeliveryScope | undefined) => void;

/** A point to which a cargo can go back. */
export interface AttachmentsMark {
  readonly partCount: number;
  readonly modules: readonly string[];
  readonly commitCount: number;
}

const EMPTY_LIST: never[] = [];
Object.freeze(EMPTY_LIST);
/** Lists of one module are kept, up to so many. */
const MAX_CACHED_LISTS = 256;

/** The parts, modules and commits of one message. */
export class Attachments {
  /** Large binary contents, in order. */
  parts: Uint8Array[] = EMPTY_LIST;
  /** URLs of modules that the receiver needs; mostly one, and then the same list as for other messages. */
  modules: readonly string[] = EMPTY_LIST;
  #commits: Commit[] = EMPTY_LIST;
  #isEmpty = true;
  readonly #singleModuleLists: Map<string, readonly string[]> = new Map();

  /** Takes over a large binary content and answers its number. */
  addPart(part: Uint8Array): number {
    this.#isEmpty = false;
    if (this.parts === EMPTY_LIST) this.parts = [];
    return this.parts.push(part) - 1;
  }

  /** Notes that the receiver needs a module. */
  requireModule(url: string): void {
    if (this.modules.includes(url)) return;
    this.#isEmpty = false;
    this.modules = this.modules.length > 0 ? [...this.modules, url] : this.#singleModuleList(url);
  }

  addCommit(commit: Commit): void {
    this.#isEmpty = false;
    if (this.#commits === EMPTY_LIST) this.#commits = [];
    this.#commits.push(commit);
  }

  /** Hands the commits over, once. */
  takeCommits(): readonly Commit[] {
    const taken = this.#commits;
    this.#commits = EMPTY_LIST;
    return taken;
  }

  clear(): void {
    if (this.#isEmpty) return;
    this.parts = EMPTY_LIST;
    this.modules = EMPTY_LIST;
    this.#commits = EMPTY_LIST;
    this.#isEmpty = true;
  }

  mark(): AttachmentsMark {
    return { partCount: this.parts.length, modules: this.modules, commitCount: this.#commits.length };
  }

  /** Takes back what was added since `mark`. */
  rollback(mark: AttachmentsMark): void {
    if (this.parts.length > mark.partCount) this.parts.length = mark.partCount;
    this.modules = mark.modules;
    if (this.#commits.length > mark.commitCount) this.#commits.length = mark.commitCount;
  }

  #singleModuleList(url: string): readonly string[] {
    let list = this.#singleModuleLists.get(url);
    if (list === undefined) {
      if (this.#singleModuleLists.size === MAX_CACHED_LISTS) this.#singleModuleLists.clear();
      this.#singleModuleLists.set(url, (list = Object.freeze([url])));
    }
    return list;
  }
}
