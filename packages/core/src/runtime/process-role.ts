/**
 * The role of this process for processes that will be started: an ordinary process, a fork server,
 * or a spare.
 */

import { singleton } from "../registry.ts";
import { afterForkInChild } from "./at-fork.ts";

/** The address of a fork server, which forks children for other processes. */
export interface ForkServerAddress {
  /** The path of the socket on which it listens. */
  readonly socketPath: string;
  /** The environment variables that its children start with. */
  readonly env: Readonly<Record<string, string>>;
}

interface ProcessRole {
  /**
   * Whether this process only keeps modules loaded for its later children. An entry that is loaded
   * here must not run.
   */
  isStandby: boolean;
  /**
   * The fork server that this process was forked by. It can fork the children of this process too.
   */
  forkServer: ForkServerAddress | undefined;
}

/** The role of this process. */
export const processRole: ProcessRole = singleton("process role", () => ({ isStandby: false, forkServer: undefined }));
afterForkInChild(() => {
  processRole.isStandby = false;
});

/** The URLs of the modules of this library that children load first. */
export const childModules: Set<string> = singleton("child modules", () => new Set());
