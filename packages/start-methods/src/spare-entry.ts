/**
 * The entry of a spare: a process that has loaded what it may need, and waits for its work; see `spares.ts`. It is started,
 * never imported.
 */
import {
  type Channel,
  decodeMessage,
  dial,
  host,
  inherited,
  loadModules,
  resolveTarget,
  role,
} from "@multiproc/core/internal";
import { BEGUN, FAILED, READY, type SpareWork } from "./spares/protocol.ts";
import { failureOf } from "./start-failure.ts";

await standBy();

/** Loads the modules, says so, and becomes the process that it is asked to be. */
async function standBy(): Promise<void> {
  const [address = "", token = "", place = "", modules = "[]"] = host.takeArgs();
  role.isStandingBy = true;
  inherited.isImporting = true;
  inherited.place = place;
  // A terminal's Ctrl+C is for the processes at work; this one ends with its owner.
  const heed = host.onSignal("SIGINT", () => {});
  const channel = await dial({ address, token }, "the process that started this one").catch(() => host.exit(0));
  const work = receive(channel, heed);
  try {
    for (const module of JSON.parse(modules) as string[]) await loadModules([module]);
  } catch (error) {
    channel.send(FAILED, failureOf(error));
    await channel.flushed();
    return host.exit(1);
  }
  channel.send(READY, undefined);
  const { entry, args } = await work;
  role.isStandingBy = false;
  inherited.isImporting = false;
  await loadModules([entry]);
  await resolveTarget({ module: entry, name: "run" })(...args);
}

/**
 * The work, when there is some; without its owner this process ends. Whoever hears that the work has begun may send a signal
 * at once, and it must not meet what the spare did about signals: `begin` is called before that is said.
 */
function receive(channel: Channel, begin: () => void): Promise<SpareWork> {
  return new Promise((resolve) => {
    let isTied = true;
    channel.start({
      message(frame) {
        const work = decodeMessage(frame) as SpareWork;
        isTied = work.isTied;
        begin();
        channel.send(BEGUN, undefined);
        channel.unref();
        if (!isTied) channel.end();
        resolve(work);
      },
      closed: () => isTied && host.exit(0),
    });
    channel.ref();
  });
}
