/**
 * The entry point for children: the modules that every child loads first, before it receives its
 * target.
 *
 * It delays the start of every child, so it imports only code that all children need. The codec,
 * for example, is imported when the first value arrives.
 *
 * @module
 */
import type { Frame } from "./channel/frame.ts";
import { FrameReader } from "./channel/frame-reader.ts";
import { flushChannels } from "./channel/open-channels.ts";
import { helloFrame } from "./connect/handshake.ts";
import { unpackStartPayload } from "./connect/start-payload.ts";
import { host } from "./host/mod.ts";
import { childConfig } from "./runtime/child-config.ts";
import { pendingWork } from "./runtime/pending-work.ts";
import { processRole } from "./runtime/process-role.ts";
import { KeepAlive } from "./runtime/wait-options.ts";
import { loadModules } from "./targets/module-loader.ts";

export { ProcessError } from "./errors.ts";
export { host } from "./host/mod.ts";
export { registry, singleton } from "./registry.ts";
export { afterForkInChild } from "./runtime/at-fork.ts";
export { childConfig } from "./runtime/child-config.ts";
export { assertMayStart, claimRefusal } from "./targets/import-guard.ts";
export { loadModules } from "./targets/module-loader.ts";
export { isLocal, resolveTarget, targetOf } from "./targets/target.ts";

/**
 * The path of the module with the codec. It is not a literal, because Deno preloads modules that
 * are imported by a literal. A child with restricted read permissions needs permission to read it,
 * so its URL is exported as {@link codecModule}.
 */
const CODEC_PATH = `./internal${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`;

/** The URL of the module that a child loads when it needs the codec. */
export const codecModule: string = new URL(CODEC_PATH, import.meta.url).href;

/** The connection of a child to its parent. */
export interface ParentConnection {
  /** Returns the next message of the parent as text. The parent must have sent it as text. */
  receiveText(): Promise<string>;
  /** Returns the next value of the parent, after loading the modules that it names. */
  receive(): Promise<unknown>;
  /** Exits, after everything that this process sent and wrote is delivered. */
  exit(code: number): Promise<never>;
}

/**
 * Connects this child to its parent and runs `main`, unless this process is a standby. The child
 * exits when its parent exits.
 *
 * @returns a function that does the same with explicit arguments, for a child that was forked from
 * a standby. The arguments contain the address of the parent's endpoint or a start payload. A child
 * with a start payload has no connection, so the fork server kills it when the parent exits.
 */
export function enter(main: (parent: ParentConnection) => Promise<void>): (...args: string[]) => Promise<void> {
  if (!processRole.isStandby) void run(main, ...host.takeArgs());
  return (...args) => run(main, ...args);
}

async function run(
  main: (parent: ParentConnection) => Promise<void>,
  parentSocketPath = "",
  token = "",
  socketPath = "",
  startPayload?: string,
  exit = (code: number): never => host.exit(code),
): Promise<void> {
  host.flushOutputOnExit();
  childConfig.socketPath = socketPath;
  if (startPayload !== undefined) keepAlive.active = true;
  const nextFrame =
    startPayload === undefined ? await connectToParent(parentSocketPath, token) : openStartPayload(startPayload);
  await main(toParentConnection(nextFrame, exit));
}

/**
 * Runs the start of a child in a fork server, so that its code is compiled before the fork.
 *
 * @param messages the start payload of a child
 */
export async function warmUp(
  main: (parent: ParentConnection) => Promise<void>,
  messages: readonly string[],
): Promise<void> {
  const { socketPath } = childConfig;
  const startPayload = JSON.stringify(messages.map((message) => [message, []]));
  await run(main, "", "", "", startPayload, () => undefined as never);
  keepAlive.active = false;
  childConfig.socketPath = socketPath;
}

function toParentConnection(nextFrame: () => Promise<Frame>, exit: (code: number) => never): ParentConnection {
  return {
    async receiveText() {
      const { bytes, start, end } = await nextFrame();
      return host.utf8Read(bytes, start, end);
    },
    async receive() {
      const frame = await nextFrame();
      const codec = import(CODEC_PATH) as Promise<typeof import("./internal.ts")>;
      const [{ decodeMessage }] = await Promise.all([codec, loadModules(frame.modules)]);
      return decodeMessage(frame);
    },
    async exit(code) {
      await pendingWork.settled();
      await flushChannels();
      return exit(code);
    },
  };
}

/** Returns a function that reads the messages of a start payload one by one. */
function openStartPayload(startPayload: string): () => Promise<Frame> {
  const frames = unpackStartPayload(startPayload);
  return async () => frames.shift() as Frame;
}

/**
 * Keeps a child with a start payload alive until it exits. Other children are kept alive by their
 * connection.
 */
const keepAlive = new KeepAlive();

/** Connects to the parent. Returns a function that reads its messages one by one. */
async function connectToParent(parentSocketPath: string, token: string): Promise<() => Promise<Frame>> {
  const frames: Frame[] = [];
  let notifyArrival = (): void => {};
  const reader = new FrameReader((frame) => {
    frames.push(frame);
    notifyArrival();
  });
  // A child without a parent has nothing to do.
  const exitAsOrphan = (): never => host.exit(1);
  try {
    const stream = await host.connect(parentSocketPath);
    stream.write(helloFrame(token));
    stream.start({ data: (chunk) => reader.feed(chunk), end: exitAsOrphan, drain() {} });
  } catch {
    exitAsOrphan();
  }
  return async () => {
    while (frames.length === 0) await new Promise<void>((resolve) => (notifyArrival = resolve));
    return frames.shift() as Frame;
  };
}
