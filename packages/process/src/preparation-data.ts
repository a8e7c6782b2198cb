/**
 * The first message of a parent to a child, as JSON. It describes the child, and lists the messages
 * that follow.
 *
 * Each value follows as a message of its own, and only if it exists. Most children have few values,
 * and start sooner if they decode less.
 */
export interface PreparationData {
  readonly name: string;
  readonly daemon: boolean;
  /** The default start method of the children of the child. */
  readonly startMethod: string;
  /** Its place in the process tree: [1, 2] is the second child of the first child. */
  readonly identity: readonly number[];
  /** The number of processes and threads from the main program to the child. */
  readonly depth: number;
  readonly authKey: readonly number[];
  readonly parent: { readonly name: string; readonly pid: number };
  /** The target, if its module and its name are enough to find it. */
  readonly target: { readonly module: string; readonly name: string } | null;
  /** The class of the process object, if it is a subclass of `Process`. */
  readonly subclass: { readonly module: string; readonly name: string } | null;
  /** The values in the messages that follow, in this order. */
  readonly payloadNames: ReadonlyArray<"target" | "args" | "fields">;
  /** Whether the child was forked from its parent, and therefore has a copy of the process object. */
  readonly isCopy: boolean;
}
