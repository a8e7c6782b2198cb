/**
 * The role of this process in starting others.
 *
 * An ordinary process runs a target. A *standby* process has loaded modules in advance: a fork
 * server forks children, and a spare waits to become a child itself.
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
   * Whether this process is a standby. It loads the entry module of children in advance, and that
   * module must not run a child here.
   */
  isStandby: boolean;
  /**
   * The fork server that forked this process, if one did. It can also fork the children of this
   * process.
   */
  forkServer: ForkServerAddress | undefined;
}

/** The role of this process. */
export const processRole: ProcessRole = singleton("process role", () => ({ isStandby: false, forkServer: undefined }));
afterForkInChild(() => {
  processRole.isStandby = false;
});

/** The URLs of library modules that a fork server loads in advance, because children need them. */
export const childModules: Set<string> = singleton("child modules", () => new Set());
