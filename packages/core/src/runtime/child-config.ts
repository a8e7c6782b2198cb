/**
 * The settings that a child receives from its parent at its start, before it loads anything else.
 */

import { singleton } from "../registry.ts";
import { afterForkInChild } from "./at-fork.ts";

interface ChildConfig {
  /**
   * The path of the socket on which this child accepts connections, if it exposes an endpoint. The
   * parent deletes the socket after the child has ended. It is `undefined` in the main process.
   */
  socketPath: string | undefined;
  /**
   * Whether the child is loading modules before it runs its target. These modules must not start
   * processes.
   */
  isImporting: boolean;
  /**
   * The depth of this process or thread in the process tree: 0 in the main program, 1 in its
   * children.
   */
  depth: number;
  /** Whether this is a worker thread of a `ThreadPool`. */
  isThread: boolean;
  /** Whether this process may have children although it is a daemon. They end with it. */
  mayHaveChildren: boolean;
  /** The default start method for its children. It is inherited from the parent. */
  startMethod: string | undefined;
}

/** The settings of this process. */
export const childConfig: ChildConfig = singleton("child config", () => ({
  socketPath: undefined,
  isImporting: false,
  depth: 0,
  isThread: false,
  mayHaveChildren: false,
  startMethod: undefined,
}));

afterForkInChild(() =>
  Object.assign(childConfig, { socketPath: undefined, isImporting: false, mayHaveChildren: false }),
);
