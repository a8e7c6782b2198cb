/** Runs a child, from its first message to its exit. */
import {
  afterForkInChild,
  childConfig,
  claimRefusal,
  host,
  loadModules,
  type ParentConnection,
  registry,
  resolveTarget,
  warmUp as warmUpChild,
} from "@multiproc/core/child";
import type { PreparationData } from "./preparation-data.ts";
import { processTree } from "./process-tree.ts";

/**
 * The path of a module that few children need. It is not a literal, because Deno loads modules with
 * literal paths in advance.
 */
const SUBCLASS_MODULE = `./subclass-instance${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`;

/**
 * Whether this process has the handler of uncaught errors. A fork server installs it during the
 * warm-up, and its children inherit it. Start method `fork` removes it from the child.
 */
let hasErrorHandler = false;
afterForkInChild(() => (hasErrorHandler = false));

/** Runs the process described by the parent, and exits with its exit code. */
export async function bootstrap(parent: ParentConnection): Promise<void> {
  const preparation = JSON.parse(await parent.receiveText()) as PreparationData;
  const { name, daemon, identity, authKey } = preparation;
  processTree.self = { name, daemon, identity, authKey: Uint8Array.from(authKey) };
  processTree.parent = preparation.parent;
  childConfig.startMethod = preparation.startMethod;
  childConfig.depth = preparation.depth;
  if (!hasErrorHandler) reportUncaughtErrors();
  try {
    const run = await prepare(preparation, parent);
    await run();
    await endChildren();
  } catch (error) {
    reportError(name, error);
    return parent.exit(1);
  }
  return parent.exit(0);
}

/** Runs a child without effect in a fork server, so that its children inherit the compiled code. */
export async function warmUp(): Promise<void> {
  const { self, parent } = processTree;
  const { startMethod, isImporting, depth } = childConfig;
  const target = { module: import.meta.url, name: "nothing" };
  registry.modules.set(target.module, { nothing() {} });
  const child: PreparationData = {
    name: self.name,
    daemon: false,
    startMethod: "forkserver",
    identity: [1],
    depth: 1,
    authKey: Array.from({ length: 32 }, (_, i) => i),
    parent: { name: self.name, pid: host.pid },
    target,
    subclass: null,
    payloadNames: [],
    isCopy: false,
  };
  await warmUpChild(bootstrap, [JSON.stringify(child)]);
  registry.modules.delete(target.module);
  Object.assign(processTree, { self, parent });
  Object.assign(childConfig, { startMethod, isImporting, depth });
}

function reportUncaughtErrors(): void {
  hasErrorHandler = true;
  host.onUncaughtError((error) => {
    if (claimRefusal(error)) return;
    reportError(processTree.self.name, error);
    host.exit(1);
  });
}

/** Loads the modules and values of the child; returns a function that runs it. */
async function prepare(preparation: PreparationData, parent: ParentConnection): Promise<() => unknown> {
  const { target, subclass, payloadNames, identity, isCopy } = preparation;
  const resumeCopy = isCopy ? processTree.pendingCopies.get(identity.join(":")) : undefined;
  processTree.pendingCopies.clear();
  if (resumeCopy !== undefined) return resumeCopy();
  childConfig.isImporting = true;
  try {
    if (target !== null) await loadModules([target.module]);
    const values: Record<string, unknown> = {};
    for (const name of payloadNames) values[name] = await parent.receive();
    const fn = target === null ? values.target : resolveTarget(target);
    const args = (values.args ?? []) as unknown[];
    if (subclass === null) return () => (fn as ((...args: unknown[]) => unknown) | undefined)?.(...args);
    await loadModules([subclass.module]);
    const { rebuildSubclass } = (await import(SUBCLASS_MODULE)) as typeof import("./subclass-instance.ts");
    const process = rebuildSubclass(subclass, { target: fn as never, args }, values.fields);
    return () => process.run();
  } finally {
    childConfig.isImporting = false;
  }
}

/** Ends the children as at the end of the main process: terminates daemons, and waits for all. */
async function endChildren(): Promise<void> {
  const children = [...processTree.children];
  for (const child of children) if (child.daemon) child.terminate();
  await Promise.all(children.map((child) => child.join()));
}

function reportError(name: string, error: unknown): void {
  console.error(`Uncaught error in ${name} (pid ${host.pid}):`, error);
}
