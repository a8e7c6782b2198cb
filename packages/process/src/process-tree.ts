/** Who is who among the processes of this family, as far as this process knows. */
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
  /** What it is called, for people. */
  readonly name: string;
  /** Its process id. */
  readonly pid: number;
}

/** A child, or this process itself, as the process tree sees it; a `Process`. */
export interface ProcessHandle {
  readonly daemon: boolean;
  terminate(): void;
  join(): Promise<number | null>;
}

interface ProcessTree {
  /** What this process itself is called, and whether it may have children. */
  self: { name: string; daemon: boolean; identity: readonly number[]; authKey: Uint8Array | undefined };
  parent: ParentProcess | undefined;
  /** The object that stands for this process. */
  current: ProcessHandle | undefined;
  /** Started and not yet known to have ended. */
  readonly children: Set<ProcessHandle>;
  childCount: number;
  /** Processes that are being started as copies of this one, by their names in the family: what is in a copy is found so. */
  readonly pendingCopies: Map<string, () => Promise<() => unknown>>;
}

/** The family as this process knows it. */
export const processTree: ProcessTree = singleton("process tree", () => ({
  self: { name: "MainProcess", daemon: false, identity: [], authKey: undefined },
  parent: undefined,
  current: undefined,
  children: new Set(),
  childCount: 0,
  pendingCopies: new Map(),
}));
// What the child itself is, it is told.
afterForkInChild(() => {
  processTree.children.clear();
  processTree.childCount = 0;
});

/**
 * The process that started this one; undefined in the main process.
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

/** The secret of this family: made by its first process when it is first needed, and inherited by all others. */
export function treeAuthKey(): Uint8Array {
  processTree.self.authKey ??= crypto.getRandomValues(new Uint8Array(32));
  return processTree.self.authKey;
}

/** The identity and the default name of the next child. */
export function nextIdentity(): readonly number[] {
  processTree.childCount += 1;
  return [...processTree.self.identity, processTree.childCount];
}

/** Refuses a child where there may be none. */
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
