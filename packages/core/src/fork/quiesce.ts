/**
 * Waiting until a process that has loaded its modules can be copied.
 *
 * An operation of libuv that is under way at a fork never ends in the child: its thread is the parent's. And a socket would
 * be shared: both sides read from it, each gets a part. A server that a module left listening, a connection to a database, the pipe
 * to a subprocess are sockets too (Node makes its pipes from them); kept-alive connections close by themselves in seconds.
 */

import { type ForkRefusal, refusal } from "./fork-refusal.ts";
import type { Forker } from "./forker.ts";

const fs = process.getBuiltinModule("node:fs");
const internals = process as unknown as { _getActiveRequests(): object[] };
const IDLE_TIMEOUT_MS = 6000;
/** For a process that is at work, and may always be. */
const QUIESCE_TIMEOUT_MS = 3000;

/** The sockets that this process has open, by their inodes. */
export function openSocketInodes(): Set<string> {
  const sockets = new Set<string>();
  for (const fd of fs.readdirSync("/proc/self/fd")) {
    try {
      const target = fs.readlinkSync(`/proc/self/fd/${fd}`);
      if (target.startsWith("socket:")) sockets.add(target);
    } catch {} // it was the folder's own
  }
  return sockets;
}

/** Turns the loop until nothing is under way, and no sockets are open but the given ones. */
export async function waitUntilIdle(ownSockets: ReadonlySet<string>): Promise<ForkRefusal | undefined> {
  const deadline = performance.now() + IDLE_TIMEOUT_MS;
  for (let turn = 0; ; turn++) {
    await new Promise((resolve) => setTimeout(resolve, turn < 3 ? 1 : 10));
    if (turn < 2) continue;
    const requests = internals._getActiveRequests();
    const sockets = [...openSocketInodes()].filter((socket) => !ownSockets.has(socket));
    if (requests.length === 0 && sockets.length === 0) return undefined;
    if (performance.now() < deadline) continue;
    if (requests.length > 0)
      return refusal("requests", `operations that the modules began are still under way: ${requestKinds(requests)}`);
    return refusal(
      "sockets",
      `the modules keep ${sockets.length} ${sockets.length === 1 ? "socket" : "sockets"} open, which all children would share: ${handleKinds()}`,
    );
  }
}

/**
 * Waits until this process, as it is at work, can be copied: its sockets stay its own, but what is under way must end first.
 */
export async function quiesce(forker: Forker): Promise<ForkRefusal | undefined> {
  const deadline = performance.now() + QUIESCE_TIMEOUT_MS;
  for (let turn = 0; ; turn++) {
    const blocker = forker.blocker();
    if (typeof blocker === "object") return blocker;
    const pending = pendingRequests();
    if (pending === undefined && blocker === undefined) return undefined;
    if (performance.now() > deadline) {
      return (
        pending ??
        refusal("busy-threads", `other threads of the process did not come to rest within ${QUIESCE_TIMEOUT_MS} ms`)
      );
    }
    await new Promise((resolve) => setTimeout(resolve, turn < 5 ? 1 : 10));
  }
}

/** The refusal if an operation of libuv is under way. */
export function pendingRequests(): ForkRefusal | undefined {
  // Nobody waits for the end of a file that is being closed, as Node does after it has read a module.
  const requests = internals._getActiveRequests().filter(({ constructor: { name } }) => name !== "FileHandleCloseReq");
  if (requests.length === 0) return undefined;
  return refusal("requests", `operations are under way that would never end in the child: ${requestKinds(requests)}`);
}

function requestKinds(requests: readonly object[]): string {
  return [...new Set(requests.map((request) => request.constructor.name))].join(", ");
}

function handleKinds(): string {
  const kinds = process.getActiveResourcesInfo().filter((kind) => !/^(Timeout|Immediate|TTYWrap)$/.test(kind));
  return [...new Set(kinds)].join(", ") || "kept-alive connections";
}
