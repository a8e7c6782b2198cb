// The user module of the benchmark: reports at once that it runs.
import fs from "node:fs";

export async function sayHello(pipe, module) {
  if (module) await import(module);
  fs.writeFileSync(pipe, "1");
}
