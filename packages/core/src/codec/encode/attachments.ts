/**
 * The *attachments* of a message, which its bytes do not contain:
 *
 * - *parts*: large binary data, which the channel sends next to the bytes
 * - modules: URLs that the receiver must load before it decodes the message
 * - *commits*: functions that the sender runs once the message can no longer fail
 */
import type { DeliveryScope } from "../../targets/shareable.ts";

/** Completes the transfer of a shareable object, once its message can no longer fail. */
export type Commit = (scope: DeliveryScope | undefined) => void;

/** A point to which attachments can roll back. */
export interface AttachmentsMark {
  readonly partCount: number;
  readonly modules: readonly string[];
  readonly commitCount: number;
}

const EMPTY_LIST: never[] = [];
Object.freeze(EMPTY_LIST);
/** The number of lists with a single module that are kept for reuse. */
const MAX_CACHED_LISTS = 256;

/** The attachments of one message. */
export class Attachments {
  /** The parts, in the order of their numbers. */
  parts: Uint8Array[] = EMPTY_LIST;
  /** URLs of the modules. Messages that need the same single module share one list. */
  modules: readonly string[] = EMPTY_LIST;
  #commits: Commit[] = EMPTY_LIST;
  #isEmpty = true;
  readonly #singleModuleLists: Map<string, readonly string[]> = new Map();

  /** Adds a part and returns its number. */
  addPart(part: Uint8Array): number {
    this.#isEmpty = false;
    if (this.parts === EMPTY_LIST) this.parts = [];
    return this.parts.push(part) - 1;
  }

  /** Adds a module that the receiver needs. */
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

  /** Returns the commits, and removes them from this message. */
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

  /** Removes everything that was added since `mark`. */
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
