// Compiled by `deno check` alone: what we take Deno's API to be must be what it is.
import type { DenoApi } from "../src/host/deno-api.ts";

export const api: DenoApi = Deno;
