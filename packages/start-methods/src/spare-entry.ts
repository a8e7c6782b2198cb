/**
 * The entry of a spare: a process that has loaded what it may need, and waits for its work; see `spares.ts`. It is started,
 * never imported.
 */
import {
  type Channel,
  childConfig,
  decodeMessage,
  dial,
  host,
  loadModules,
  processRole,
  resolveTarget,
} from "@multiproc/core/internal";
import { ASSIGNED, FAILED, READY, type SpareAssignment } from "./spares/protocol.ts";
import { failureOf } from "./start-failure.ts";

await runSpare();

/** Loads the modules, says so, and becomes the process that it is asked to be. */
async function runSpare(): Promise<void> {
  const [ownerSocketPath = "", token = "", socketPath = "", modules = "[]"] = host.takeArgs();
  processRole.isStandby = true;
  childConfig.isImporting = true;
  childConfig.socketPath = socketPath;
  // A terminal's Ctrl+C is for the processes at work; this one ends with its owner.
  const restoreSigint = host.onSignal("SIGINT", () => {});
  const channel = await dial({ socketPath: ownerSocketPath, token }, "the process that started this one").catch(() =>
    host.exit(0),
  );
  const assignment = receiveAssignment(channel, restoreSigint);
  try {
    for (const module of JSON.parse(modules) as string[]) await loadModules([module]);
  } catch (error) {
    channel.send(FAILED, failureOf(error));
    await channel.flushed();
    return host.exit(1);
  }
  channel.send(READY, undefined);
  const { entry, args } = await assignment;
  processRole.isStandby = false;
  childConfig.isImporting = false;
  await loadModules([entry]);
  await resolveTarget({ module: entry, name: "run" })(...args);
}

/**
 * The work, when there is some; without its owner this process ends. Whoever hears that the work has begun may send a signal
 * at once, and it must not meet what the spare did about signals: `begin` is called before that is said.
 */
function receiveAssignment(channel: Channel, onAssigned: () => void): Promise<SpareAssignment> {
  return new Promise((resolve) => {
    let endsWithOwner = true;
    channel.start({
      message(frame) {
        const assignment = decodeMessage(frame) as SpareAssignment;
        endsWithOwner = assignment.endsWithOwner;
        onAssigned();
        channel.send(ASSIGNED, undefined);
        channel.unref();
        if (!endsWithOwner) channel.end();
        resolve(assignment);
      },
      closed: () => endsWithOwner && host.exit(0),
    });
    channel.ref();
  });
}
