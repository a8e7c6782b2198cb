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
   * Whether modules are being loaded before the child runs its target. They must not start
   * processes at that time.
   */
  isImporting: boolean;
  /**
   * The number of processes and threads from the main program to this one; 0 in the main program.
   */
  depth: number;
  /** Whether this is a worker thread of a `ThreadPool`. */
  isThread: boolean;
  /** Whether this process may have children although it is a daemon. They end with it. */
  mayHaveChildren: boolean;
  /** The start method of its children by default: that of its parent. */
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
