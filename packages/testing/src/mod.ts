/**
 * What the tests of every package share. It leans on no sibling, so that no test of a package brings in another one.
 *
 * @module
 */

export { type ChildProcess, type Children, childrenOf } from "./children.ts";
export { descendants, isAlive, noChildLeft } from "./liveness.ts";
export {
  type Exit,
  type Host,
  host,
  type Program,
  type ProgramOptions,
  runProgram,
  WITHOUT_NATIVE,
} from "./program.ts";
export { fixture, linesOf, type UntilOptions, until } from "./until.ts";
