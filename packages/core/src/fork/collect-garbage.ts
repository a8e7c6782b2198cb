/**
 * Collects all garbage now. V8 defines `gc()` only in contexts that are created while `--expose-gc`
 * is set.
 */
export function collectGarbage(): void {
  const v8 = process.getBuiltinModule("node:v8");
  v8.setFlagsFromString("--expose-gc");
  const collect = process.getBuiltinModule("node:vm").runInNewContext("gc") as () => void;
  v8.setFlagsFromString("--no-expose-gc");
  collect();
}
