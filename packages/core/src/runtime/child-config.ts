/** What a child is told by its parent at its start, before it loads anything else. */

import { singleton } from "../registry.ts";
import { afterForkInChild } from "./at-fork.ts";

interface ChildConfig {
  /** Where this child opens its door, if it does; the parent removes what is left of it. None in the first process of a family. */
  socketPath: string | undefined;
  /** Whether modules are being loaded for a process that is still to run: they may start none themselves. */
  isImporting: boolean;
  /** Whether it may have children though it is daemonic: they end with it. */
  mayHaveChildren: boolean;
  /** How its own children come to be, unless it says otherwise: as those of its parent. */
  startMethod: string | undefined;
}

/** What this process was told. */
export const childConfig: ChildConfig = singleton("child config", () => ({
  socketPath: undefined,
  isImporting: false,
  mayHaveChildren: false,
  startMethod: undefined,
}));

afterForkInChild(() =>
  Object.assign(childConfig, { socketPath: undefined, isImporting: false, mayHaveChildren: false }),
);
