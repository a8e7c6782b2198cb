/** The part of the process tree that this process knows: itself, its parent and its children. */
import { afterForkInChild, assertMayStart, childConfig, host, ProcessError, singleton } from "@multiproc/core/child";

/**
 * The process that started this one.
 *
 * @example A child asks for its parent
 * ```ts
 * import { type ParentProcess, parentProcess } from "@multiproc/process";
 *
 * const describe = (parent: ParentProcess | undefined) => (parent ? `${parent.name}, ${parent.pid}` : "none");
 * console.log(describe(parentProcess())); // none: this is the main process
 * ```
 */
export interface ParentProcess {
  /** The name of the process, for logs and errors. */
  readonly name: string;
  /** Its process id. */
  readonly pid: number;
}

/**
 * The members of a `Process` that the process tree uses, for a child or for this process itself.
 */
export interface ProcessHandle {
  readonly daemon: boolean;
  terminate(): void;
  join(): Promise<number | null>;
}

interface ProcessTree {
  /** This process. A daemonic one may not have children. */
  self: { name: string; daemon: boolean; identity: readonly number[]; authKey: Uint8Array | undefined };
  parent: ParentProcess | undefined;
  /** The `Process` object of this process. */
  current: ProcessHandle | undefined;
  /** Children that were started and whose end is not known yet. */
  readonly children: Set<ProcessHandle>;
  childCount: number;
  /**
   * Starts by `fork` that are under way, by identity. A forked child finds its own process object
   * here.
   */
  readonly pendingCopies: Map<string, () => Promise<() => unknown>>;
}

export const processTree: ProcessTree = singleton("process tree", () => ({
  self: { name: "MainProcess", daemon: false, identity: [], authKey: undefined },
  parent: undefined,
  current: undefined,
  children: new Set(),
  childCount: 0,
  pendingCopies: new Map(),
}));
// `self` and `parent` are set by the first message to the child.
afterForkInChild(() => {
  processTree.children.clear();
  processTree.childCount = 0;
});

/**
 * Returns the process that started this one; undefined in the main process.
 *
 * @example
 * ```ts
 * import { parentProcess } from "@multiproc/process";
 *
 * console.log(parentProcess()); // undefined: this is the main process
 * ```
 */
export function parentProcess(): ParentProcess | undefined {
  return processTree.parent;
}

/**
 * Returns the secret of this process tree. Its first process creates it on demand, and all others
 * inherit it.
 */
export function treeAuthKey(): Uint8Array {
  processTree.self.authKey ??= crypto.getRandomValues(new Uint8Array(32));
  return processTree.self.authKey;
}

/** Returns the identity of the next child, on which its default name is based. */
export function nextIdentity(): readonly number[] {
  processTree.childCount += 1;
  return [...processTree.self.identity, processTree.childCount];
}

/** Throws if this process may not start children now. */
export function assertMayHaveChildren(): void {
  assertMayStart();
  if (processTree.self.daemon && !childConfig.mayHaveChildren) {
    throw new ProcessError(
      `Cannot start a process: ${processTree.self.name} (pid ${host.pid}) is daemonic, and a daemonic process may have no children`,
      {
        code: "ERR_DAEMONIC",
      },
    );
  }
}
