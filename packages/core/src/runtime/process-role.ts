/** What this process is to processes that do not run yet. */

import { singleton } from "../registry.ts";
import { afterFork } from "./at-fork.ts";

/** A fork server that other processes can ask for children. */
export interface KnownServer {
  /** The socket where it listens. */
  readonly address: string;
  /** The variables that its children begin with. */
  readonly env: Readonly<Record<string, string>>;
}

interface Role {
  /** Whether this process keeps modules loaded for other processes to run: an entry that is loaded here must not begin. */
  isStandingBy: boolean;
  /** The server that this process was forked by; its own children can be too. */
  server: KnownServer | undefined;
}

/** The role of this process. */
export const role: Role = singleton("role", () => ({ isStandingBy: false, server: undefined }));
afterFork(() => {
  role.isStandingBy = false;
});

/** The modules of this library that children will run first, by their URLs. */
export const childModules: Set<string> = singleton("child modules", () => new Set());
