/** What a child does from its first message to its end. */
import { host, loadModules, registry } from "@multiproc/core/internal";
import type { ParentLink } from "@multiproc/start-methods";
import { family } from "./family.ts";
import { type Preparation, Process } from "./process.ts";

/** Runs the process that the parent sent, and ends with its exit code. */
export async function bootstrap(parent: ParentLink): Promise<void> {
  const preparation = (await parent.receive()) as Preparation;
  const { name, daemon, identity, authKey } = preparation;
  family.self = { name, daemon, identity, authKey };
  family.parent = preparation.parent;
  host.onUncaughtError((error) => {
    report(name, error);
    host.exit(1);
  });
  try {
    const process = await build(preparation, parent);
    await process.run();
    await endChildren();
  } catch (error) {
    report(name, error);
    return parent.leave(1);
  }
  return parent.leave(0);
}

async function build(preparation: Preparation, parent: ParentLink): Promise<Process> {
  const { name, daemon, subclass, authKey } = preparation;
  family.importing = true;
  try {
    const target = (await parent.receive()) as never;
    const args = (await parent.receive()) as unknown[];
    const fields = await parent.receive();
    if (subclass !== undefined) await loadModules([subclass.module]);
    const Class =
      subclass === undefined ? Process : registry.classes.get(`${subclass.module}#${subclass.name}`)?.constructor;
    if (Class === undefined)
      throw new TypeError(`Module "${subclass?.module}" does not register the class "${subclass?.name}"`);
    // The base class alone is constructed: the fields of a subclass come with the message.
    const process = Reflect.construct(Process, [{ target, args, name, daemon }], Class) as Process;
    process.authKey = authKey;
    family.childCount = 0;
    family.current = process;
    return Object.assign(process, fields);
  } finally {
    family.importing = false;
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
