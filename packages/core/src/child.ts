/**
 * The children's door: what a process that was started loads before it knows what it is to do. Every child pays for it, so it
 * leaves out what many of them never need: the codec comes with the first value that needs one.
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
export { loadModules } from "./targets/module-loader.ts";
export { isLocal, resolveTarget, targetOf } from "./targets/target.ts";

/**
 * Where the codec is. The path is put together, because Deno loads ahead whatever it can foresee to be imported; so a child that
 * may read little must be able to read this, see {@link codecModule}.
 */
const CODEC_PATH = `./internal${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`;

/** The module that a child loads when it needs the codec. */
export const codecModule: string = new URL(CODEC_PATH, import.meta.url).href;

/** What an entry is given: the way to its parent. */
export interface ParentConnection {
  /** The next message that the parent sent, which is a text. */
  receiveText(): Promise<string>;
  /** The next value that the parent sent; the modules it names are loaded first. */
  receive(): Promise<unknown>;
  /** Ends this process, when all that it sent and wrote has left. */
  exit(code: number): Promise<never>;
}

/**
 * Connects this child with its parent and runs `main`. The child ends when its parent does.
 *
 * @returns the same with arguments of its own, for a child that was forked after this module had been loaded: where to find
 * the parent, or in place of that an inbox; then what makes the child ends it when its parent has ended
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
 * Does in a fork server what every child does first, so that children find it compiled.
 *
 * @param messages what the child would find in its inbox
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

/** What came with the child gives its messages. */
function openStartPayload(startPayload: string): () => Promise<Frame> {
  const frames = unpackStartPayload(startPayload);
  return async () => frames.shift() as Frame;
}

/** As a connection to its parent would, keeps this child alive until it leaves. */
const keepAlive = new KeepAlive();

/** Dials the parent; the result gives its messages one by one. */
async function connectToParent(parentSocketPath: string, token: string): Promise<() => Promise<Frame>> {
  const frames: Frame[] = [];
  let notifyArrival = (): void => {};
  const reader = new FrameReader((frame) => {
    frames.push(frame);
    notifyArrival();
  });
  // The parent is gone, and nobody is left to work for.
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
