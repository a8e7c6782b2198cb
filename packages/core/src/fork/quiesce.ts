/**
 * Waits until this process can be copied. It then has no pending requests of libuv. A fork server
 * also has no open sockets of its modules.
 *
 * A request that is pending at a fork never ends in the child, because its thread belongs to the
 * parent. If parent and child read the same socket, each gets a part of the data. Listening
 * servers, database connections and pipes to subprocesses are sockets (Node creates its pipes as
 * sockets). Idle HTTP connections close by themselves within seconds.
 */
import { type ForkRefusal, refusal } from "../host/fork-refusal.ts";
import type { Forker } from "./forker.ts";

const fs = process.getBuiltinModule("node:fs");
const internals = process as unknown as { _getActiveRequests(): object[] };
const IDLE_TIMEOUT_MS = 6000;
/** Shorter than the other, because a running program may always have pending requests. */
const QUIESCE_TIMEOUT_MS = 3000;

/** Returns the open sockets of this process, by their inodes. */
export function openSocketInodes(): Set<string> {
  const sockets = new Set<string>();
  for (const fd of fs.readdirSync("/proc/self/fd")) {
    try {
      const target = fs.readlinkSync(`/proc/self/fd/${fd}`);
      if (target.startsWith("socket:")) sockets.add(target);
    } catch {} // the descriptor of the directory listing itself
  }
  return sockets;
}

/**
 * For a fork server, which has only loaded modules: waits until no requests are pending and only
 * `ownSockets` are open.
 */
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
      return refusal("requests", `the modules have pending operations: ${requestKinds(requests)}`);
    return refusal(
      "sockets",
      `the modules keep ${sockets.length} ${sockets.length === 1 ? "socket" : "sockets"} open, which all children would share: ${handleKinds()}`,
    );
  }
}

/**
 * For a process in the middle of its program: waits until no requests are pending and the other
 * threads are idle. Sockets may stay open, because the child detaches itself from them.
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
        pending ?? refusal("busy-threads", `other threads of the process were not idle within ${QUIESCE_TIMEOUT_MS} ms`)
      );
    }
    await new Promise((resolve) => setTimeout(resolve, turn < 5 ? 1 : 10));
  }
}

/** Returns a refusal if requests of libuv are pending. */
export function pendingRequests(): ForkRefusal | undefined {
  // A request that closes a file does not matter, because no code waits for it. Node closes each
  // module file that way.
  const requests = internals._getActiveRequests().filter(({ constructor: { name } }) => name !== "FileHandleCloseReq");
  if (requests.length === 0) return undefined;
  return refusal("requests", `pending operations would never end in the child: ${requestKinds(requests)}`);
}

function requestKinds(requests: readonly object[]): string {
  return [...new Set(requests.map((request) => request.constructor.name))].join(", ");
}

function handleKinds(): string {
  const kinds = process.getActiveResourcesInfo().filter((kind) => !/^(Timeout|Immediate|TTYWrap)$/.test(kind));
  return [...new Set(kinds)].join(", ") || "kept-alive connections";
}
