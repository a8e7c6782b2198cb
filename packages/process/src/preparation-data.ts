/**
 * What a parent sends to a child: a text that says what the child is and what follows, then the values that follow, each only
 * if there is one. Most children run a function of a module with few arguments, and the less they must decode, the sooner they
 * begin.
 */
export interface PreparationData {
  readonly name: string;
  readonly daemon: boolean;
  /** How the child's own children come to be, unless it says otherwise. */
  readonly startMethod: string;
  readonly identity: readonly number[];
  /** The number of processes and threads from the main program to the child. */
  readonly depth: number;
  readonly authKey: readonly number[];
  readonly parent: { readonly name: string; readonly pid: number };
  /** The function, if its module and its name are enough to find it. */
  readonly target: { readonly module: string; readonly name: string } | null;
  /** The class of a subclass' instance. */
  readonly subclass: { readonly module: string; readonly name: string } | null;
  /** The values that follow, in this order. */
  readonly payloadNames: ReadonlyArray<"target" | "args" | "fields">;
  /** Whether the child is a copy of its parent, and has the process object itself. */
  readonly isCopy: boolean;
}
