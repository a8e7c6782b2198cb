import { noChildLeft } from "./liveness.ts";

/** What the tests need of a process. */
export interface ChildProcess {
  /** Starts it. */
  start(): Promise<void>;
  /** Ends it at once. */
  kill(): void;
  /** Waits for its end. */
  join(): Promise<unknown>;
}

/** The children of one test, see {@linkcode childrenOf}. */
export interface Children<C extends ChildProcess> {
  /** Those that were started and not ended yet. */
  readonly children: C[];
  /** Starts one that runs a function. */
  start(target: (...args: never[]) => unknown, ...args: unknown[]): Promise<C>;
  /** Kills all, and waits until no process is left. Made to be given to `afterEach`. */
  endChildren(): Promise<void>;
}

/** Children that end with their test; this package knows no class of processes, so it is told how one is made. */
export function childrenOf<C extends ChildProcess>(make: (target: never, args: never) => C): Children<C> {
  const children: C[] = [];
  return {
    children,
    async start(target, ...args) {
      const child = make(target as never, args as never);
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
