/**
 * The children's door: what a process that was started loads before it knows what it is to do. Every child pays for it, so it
 * leaves out what many of them never need: the codec comes with the first value that needs one.
 *
 * @module
 */
import type { Frame } from "./channel/channel.ts";
import { FrameReader } from "./channel/frame-reader.ts";
import { flushChannels } from "./channel/open-channels.ts";
import { helloFrame } from "./connect/handshake.ts";
import { unpackInbox } from "./connect/start-payload.ts";
import { host } from "./host/mod.ts";
import { inherited } from "./runtime/child-config.ts";
import { leaving } from "./runtime/pending-work.ts";
import { role } from "./runtime/process-role.ts";
import { loadModules } from "./targets/target.ts";

export { ProcessError } from "./errors.ts";
export { host } from "./host/mod.ts";
export { registry, singleton } from "./registry.ts";
export { afterFork } from "./runtime/at-fork.ts";
export { inherited } from "./runtime/child-config.ts";
export { isHere, loadModules, resolveTarget, targetOf } from "./targets/target.ts";

/**
 * Where the codec is. The path is put together, because Deno loads ahead whatever it can foresee to be imported; so a child that
 * may read little must be able to read this, see {@link codecModule}.
 */
const CODEC = `./internal${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`;

const LONGEST_TIMER = 2 ** 31 - 1;

/** The module that a child loads when it needs the codec. */
export const codecModule: string = new URL(CODEC, import.meta.url).href;

/** What an entry is given: the way to its parent. */
export interface ParentLink {
  /** The next message that the parent sent, which is a text. */
  receiveText(): Promise<string>;
  /** The next value that the parent sent; the modules it names are loaded first. */
  receive(): Promise<unknown>;
  /** Ends this process, when all that it sent and wrote has left. */
  leave(code: number): Promise<never>;
}

/**
 * Connects this child with its parent and runs `main`. The child ends when its parent does.
 *
 * @returns the same with arguments of its own, for a child that was forked after this module had been loaded: where to find
 * the parent, or in place of that an inbox; then what makes the child ends it when its parent has ended
 */
export function enter(main: (parent: ParentLink) => Promise<void>): (...args: string[]) => Promise<void> {
  if (!role.isStandingBy) void run(main, ...host.takeArgs());
  return (...args) => run(main, ...args);
}

async function run(
  main: (parent: ParentLink) => Promise<void>,
  address = "",
  token = "",
  place = "",
  inbox?: string,
  exit = (code: number): never => host.exit(code),
): Promise<void> {
  host.keepOutputOnExit();
  inherited.place = place;
  if (inbox !== undefined) stayAlive();
  const next = inbox === undefined ? await connect(address, token) : open(inbox);
  await main(linkTo(next, exit));
}

/**
 * Does in a fork server what every child does first, so that children find it compiled.
 *
 * @param messages what the child would find in its inbox
 */
export async function rehearse(
  main: (parent: ParentLink) => Promise<void>,
  messages: readonly string[],
): Promise<void> {
  const { place } = inherited;
  const inbox = JSON.stringify(messages.map((message) => [message, []]));
  await run(main, "", "", "", inbox, () => undefined as never);
  die();
  inherited.place = place;
}

function linkTo(next: () => Promise<Frame>, exit: (code: number) => never): ParentLink {
  return {
    async receiveText() {
      const { bytes, start, end } = await next();
      return host.utf8Read(bytes, start, end);
    },
    async receive() {
      const frame = await next();
      const codec = import(CODEC) as Promise<typeof import("./internal.ts")>;
      const [{ decodeMessage }] = await Promise.all([codec, loadModules(frame.modules)]);
      return decodeMessage(frame);
    },
    async leave(code) {
      await leaving.finished();
      await flushChannels();
      return exit(code);
    },
  };
}

/** What came with the child gives its messages. */
function open(inbox: string): () => Promise<Frame> {
  const frames = unpackInbox(inbox);
  return async () => frames.shift() as Frame;
}

/** As a connection to its parent would, keeps this child alive until it leaves. */
function stayAlive(): void {
  die = host.timer(stayAlive, LONGEST_TIMER, true);
}

/** Has the loop of this child end when nothing else is to be done. */
let die = (): void => {};

/** Dials the parent; the result gives its messages one by one. */
async function connect(address: string, token: string): Promise<() => Promise<Frame>> {
  const frames: Frame[] = [];
  let arrived = (): void => {};
  const reader = new FrameReader((frame) => {
    frames.push(frame);
    arrived();
  });
  // The parent is gone, and nobody is left to work for.
  const orphaned = (): never => host.exit(1);
  try {
    const stream = await host.connect(address);
    stream.write(helloFrame(token));
    stream.start({ data: (chunk) => reader.feed(chunk), end: orphaned, drain() {} });
  } catch {
    orphaned();
  }
  return async () => {
    while (frames.length === 0) await new Promise<void>((resolve) => (arrived = resolve));
    return frames.shift() as Frame;
  };
}
