/** The flags of the interpreter that a child inherits from its parent on Node. */

/**
 * Flags that select the program or the debugger of the parent. A child with them would run another
 * program, or use the same debugger port.
 */
const NOT_INHERITED_FLAGS =
  /^(--inspect|--eval|--print|--test|--watch|--check|--interactive|--input-type|-e$|-p$|-pe$|-c$|-i$)/;
/** Those of these flags whose value is the next argument. */
const FLAGS_WITH_VALUE = new Set(["-e", "--eval", "-p", "--print", "-pe", "--input-type", "--watch-path"]);

/** Returns the flags of the parent, except {@link NOT_INHERITED_FLAGS}. */
export function inheritedFlags(execArgv: readonly string[]): string[] {
  const flags: string[] = [];
  for (let i = 0; i < execArgv.length; i++) {
    const flag = execArgv[i] as string;
    if (FLAGS_WITH_VALUE.has(flag)) i++;
    else if (!NOT_INHERITED_FLAGS.test(flag)) flags.push(flag);
  }
  return flags;
}
