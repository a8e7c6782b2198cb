// Only `deno check` compiles this file: the types in deno-api.ts must match Deno's own.
import type { DenoApi } from "../src/host/deno-api.ts";

export const api: DenoApi = Deno;
