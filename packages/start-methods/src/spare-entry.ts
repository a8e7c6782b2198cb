/**
 * The entry module of a *spare*: an interpreter that has loaded the modules of a child in advance
 * and waits for an assignment; see `spares/spare-pool.ts`. It is a program, which no module
 * imports.
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

/** Loads the modules, reports that, waits for an assignment, and runs it. */
async function runSpare(): Promise<void> {
  const [ownerSocketPath = "", token = "", socketPath = "", modules = "[]"] = host.takeArgs();
  processRole.isStandby = true;
  childConfig.isImporting = true;
  childConfig.socketPath = socketPath;
  // Ctrl+C in a terminal is meant for running children; a waiting spare ends with its owner.
  const restoreSigint = host.onSignal("SIGINT", () => {});
  const channel = await dial({ socketPath: ownerSocketPath, token }, "the owner of this spare process").catch(() =>
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
 * Waits for the assignment. The spare ends if its owner closes the channel before that.
 *
 * The owner may send a signal as soon as it has the reply ASSIGNED, and the spare ignores SIGINT.
 * `onAssigned`, which restores the default, is therefore called before the reply.
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
