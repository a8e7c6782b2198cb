/** Child processes of a test, which end with it. */
import { noChildLeft } from "./liveness.ts";

/** The members of `Process` that tests need. This package does not import `Process`. */
export interface ChildProcess {
  /** Starts the process. */
  start(): Promise<void>;
  /** Kills the process. */
  kill(): void;
  /** Waits until the process has ended. */
  join(): Promise<unknown>;
}

/** The children of one test; see {@linkcode childrenOf}. */
export interface Children<C extends ChildProcess> {
  /** Children that were started and not killed yet. */
  readonly children: C[];
  /** Starts a child that calls a function. */
  start(target: (...args: never[]) => unknown, ...args: unknown[]): Promise<C>;
  /** Kills all children, and waits until no process is left. Pass it to `afterEach`. */
  endChildren(): Promise<void>;
}

/**
 * Returns functions that start and end the children of each test. `create` constructs a `Process`.
 */
export function childrenOf<C extends ChildProcess>(create: (target: never, args: never) => C): Children<C> {
  const children: C[] = [];
  return {
    children,
    async start(target, ...args) {
      const child = create(target as never, args as never);
      await child.start();
      children.push(child);
      return child;
    },
    async endChildren() {
      for (const child of children.splice(0)) {
        child.kill();
        await child.join();
      }
      await noChildLeft();
    },
  };
}
