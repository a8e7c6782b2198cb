/** What a child does from its first message to its end. */
import {
  afterFork,
  host,
  inherited,
  loadModules,
  type ParentLink,
  registry,
  rehearse as rehearseChild,
  resolveTarget,
} from "@multiproc/core/child";
import type { Preparation } from "./preparation-data.ts";
import { family } from "./process-tree.ts";

/** The path is put together, because Deno loads ahead whatever it can foresee to be imported, and few children need this. */
const REVIVE = `./subclass-instance${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`;

/** Whether this process tells of errors that nobody caught; in a fork server it does so for its children. */
let tellsOfErrors = false;
afterFork(() => (tellsOfErrors = false));

/** Runs the process that the parent sent, and ends with its exit code. */
export async function bootstrap(parent: ParentLink): Promise<void> {
  const preparation = JSON.parse(await parent.receiveText()) as Preparation;
  const { name, daemon, identity, authKey } = preparation;
  family.self = { name, daemon, identity, authKey: Uint8Array.from(authKey) };
  family.parent = preparation.parent;
  inherited.startMethod = preparation.startMethod;
  if (!tellsOfErrors) tellOfErrors();
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

/** In a fork server: does for nothing what every child does first. */
export async function rehearse(): Promise<void> {
  const { self, parent } = family;
  const { startMethod, isImporting } = inherited;
  const target = { module: import.meta.url, name: "nothing" };
  registry.modules.set(target.module, { nothing() {} });
  const child: Preparation = {
    name: self.name,
    daemon: false,
    startMethod: "forkserver",
    identity: [1],
    authKey: Array.from({ length: 32 }, (_, i) => i),
    parent: { name: self.name, pid: host.pid },
    target,
    subclass: null,
    follows: [],
    isCopy: false,
  };
  await rehearseChild(bootstrap, [JSON.stringify(child)]);
  registry.modules.delete(target.module);
  Object.assign(family, { self, parent });
  Object.assign(inherited, { startMethod, isImporting });
}

function tellOfErrors(): void {
  tellsOfErrors = true;
  host.onUncaughtError((error) => {
    report(family.self.name, error);
    host.exit(1);
  });
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
    const { revive } = (await import(REVIVE)) as typeof import("./subclass-instance.ts");
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
