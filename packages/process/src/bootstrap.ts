/** What a child does from its first message to its end. */
import { host, inherited, loadModules, type ParentLink, resolveTarget } from "@multiproc/core/child";
import { family } from "./family.ts";
import type { Preparation } from "./preparation.ts";

/** The path is put together, because Deno loads ahead whatever it can foresee to be imported, and few children need this. */
const REVIVE = `./revive${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`;

/** Runs the process that the parent sent, and ends with its exit code. */
export async function bootstrap(parent: ParentLink): Promise<void> {
  const preparation = JSON.parse(await parent.receiveText()) as Preparation;
  const { name, daemon, identity, authKey } = preparation;
  family.self = { name, daemon, identity, authKey: Uint8Array.from(authKey) };
  family.parent = preparation.parent;
  inherited.startMethod = preparation.startMethod;
  host.onUncaughtError((error) => {
    report(name, error);
    host.exit(1);
  });
  try {
    const run = await prepare(preparation, parent);
    await run();
    await endChildren();
  } catch (error) {
    report(name, error);
    return parent.leave(1);
  }
  return parent.leave(0);
}

/** Loads what the process needs; the result runs it. */
async function prepare(preparation: Preparation, parent: ParentLink): Promise<() => unknown> {
  const { target, subclass, follows, identity, isCopy } = preparation;
  const copy = isCopy ? family.copies.get(identity.join(":")) : undefined;
  family.copies.clear();
  if (copy !== undefined) return copy();
  inherited.isImporting = true;
  try {
    if (target !== null) await loadModules([target.module]);
    const values: Record<string, unknown> = {};
    for (const what of follows) values[what] = await parent.receive();
    const fn = target === null ? values.target : resolveTarget(target);
    const args = (values.args ?? []) as unknown[];
    if (subclass === null) return () => (fn as ((...args: unknown[]) => unknown) | undefined)?.(...args);
    await loadModules([subclass.module]);
    const { revive } = (await import(REVIVE)) as typeof import("./revive.ts");
    const process = revive(subclass, { target: fn as never, args }, values.fields);
    return () => process.run();
  } finally {
    inherited.isImporting = false;
  }
}

/** As at the end of the main process: daemonic children are ended, the others waited for. */
async function endChildren(): Promise<void> {
  const children = [...family.children];
  for (const child of children) if (child.daemon) child.terminate();
  await Promise.all(children.map((child) => child.join()));
}

function report(name: string, error: unknown): void {
  console.error(`Uncaught error in ${name} (pid ${host.pid}):`, error);
}
