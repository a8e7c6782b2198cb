/**
 * The siblings' door: what the packages of this library share and users have no need of. It follows no version rules.
 *
 * @module
 */

export { ByteWriter } from "./bytes/byte-writer.ts";
export { randomToken } from "./bytes/random-token.ts";
export { type Channel, type ChannelHandlers, Frame, isReset, type SyncChannel } from "./channel/channel.ts";
export { reach } from "./channel/connect-with-retry.ts";
export {
  decodeMessage,
  type EncodedMessage,
  encodeFor,
  encodeMessage,
  type MessageKeeper,
  textMessage,
} from "./channel/encoded-message.ts";
export { Moments } from "./channel/flush-limiter.ts";
export { MAX_MESSAGE } from "./channel/frame-reader.ts";
export { flushNow, openChannels } from "./channel/open-channels.ts";
export { SocketChannel } from "./channel/stream-channel.ts";
export { Decoder } from "./codec/decode/decoder.ts";
export { vouching } from "./codec/encode/array-writer.ts";
export { Encoder } from "./codec/encode/encoder.ts";
export {
  dial,
  dialSync,
  doorAddress,
  type Invitation,
  type InviteOptions,
  invite,
  missingDialSync,
  placeForChild,
  revoke,
} from "./connect/acceptor.ts";
export { packInbox } from "./connect/start-payload.ts";
export { Fifo } from "./fifo.ts";
export type {
  ByteSource,
  ByteStream,
  DiagnosticsChannel,
  Digest,
  ExitStatus,
  FlowStorage,
  Host,
  Stdio,
  StreamServer,
  Subprocess,
  Thread,
  ThreadEnd,
} from "./host/host.ts";
export { host } from "./host/mod.ts";
export * from "./native/linux.ts";
export {
  type Fork,
  type Forker,
  type Forking,
  type ForkReason,
  type ForkRefusal,
  forking,
  type Kid,
  type MissingNative,
  missingNative,
  type Native,
  native,
  type Opened,
  type Surroundings,
} from "./native/mod.ts";
export { connectTo, openSocket, socketAddress, socketFailure } from "./native/unix-socket.ts";
export { PROTOCOL, registerErrors, registry, singleton } from "./registry.ts";
export { afterFork, becomeHeir, type Heritage, inheritable, isForked, prepareHeirs } from "./runtime/at-fork.ts";
export { checkOptions } from "./runtime/check-options.ts";
export { inherited } from "./runtime/child-config.ts";
export { connectOutput, stdioOf } from "./runtime/child-output.ts";
export { leaving } from "./runtime/pending-work.ts";
export { lifetime } from "./runtime/process-cleanup.ts";
export { childModules, type KnownServer, role } from "./runtime/process-role.ts";
export { patience } from "./runtime/responsive-timeout.ts";
export { checkTimeout, Stay, TIMED_OUT, type WaitOptions, within, withinOrThrow } from "./runtime/wait-options.ts";
export { Odds } from "./shm/adaptive-spin.ts";
export { type Bell, listen, ownBell, ring } from "./shm/doorbell.ts";
export { NamedMemory } from "./shm/named-segment.ts";
export { ACQUIRED, type Acquired, INHERITED, REFUSED, RobustLock } from "./shm/robust-mutex.ts";
export { Memory, type MemoryAddress, missingMemory } from "./shm/shared-memory-segment.ts";
export { isGone, type Life, numberOf, ownLife, startOf } from "./shm/thread-id.ts";
export { type Check, type ListOptions, WaitList } from "./shm/wait-queue.ts";
export {
  type Carrier,
  registerReviver,
  type Shareable,
  shareable,
  shareablesIn,
  type Ticket,
} from "./targets/shareable.ts";
export {
  areLoaded,
  isHere,
  loadModules,
  partOf,
  requireTarget,
  resolveTarget,
  type TargetReference,
  targetOf,
} from "./targets/target.ts";
