/**
 * Test helpers for all packages. They import no sibling, so that the tests of a package load no
 * other package.
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
