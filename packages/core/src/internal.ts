/**
 * The siblings' door: what the packages of this library share and users have no need of. It follows no version rules.
 *
 * @module
 */
export { type Channel, type ChannelHandlers, Frame, isReset, type SyncChannel } from "./channel/channel.ts";
export { MAX_MESSAGE } from "./channel/frame-reader.ts";
export {
  decodeMessage,
  type EncodedMessage,
  encodeFor,
  encodeMessage,
  type MessageKeeper,
  textMessage,
} from "./channel/message.ts";
export { Moments } from "./channel/moments.ts";
export { reach } from "./channel/reach.ts";
export { SocketChannel } from "./channel/socket.ts";
export { vouching } from "./codec/array-writer.ts";
export { ByteWriter } from "./codec/byte-writer.ts";
export { Decoder } from "./codec/decoder.ts";
export { Encoder } from "./codec/encoder.ts";
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
} from "./door.ts";
export { type Bell, listen, ownBell, ring } from "./doorbell.ts";
export { afterFork, becomeHeir, type Heritage, inheritable, isForked, prepareHeirs } from "./heritage.ts";
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
export { packInbox } from "./inbox.ts";
export { inherited } from "./inheritance.ts";
export { leaving } from "./leaving.ts";
export { isGone, type Life, numberOf, ownLife, startOf } from "./life.ts";
export { lifetime } from "./lifetime.ts";
export { Memory, type MemoryAddress, missingMemory } from "./memory.ts";
export { NamedMemory } from "./name-table.ts";
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
export { Odds } from "./odds.ts";
export { flushNow, openChannels } from "./open-channels.ts";
export { connectOutput, stdioOf } from "./output.ts";
export { patience } from "./patience.ts";
export { PROTOCOL, registerErrors, registry, singleton } from "./registry.ts";
export { ACQUIRED, type Acquired, INHERITED, REFUSED, RobustLock } from "./robust-lock.ts";
export { childModules, type KnownServer, role } from "./role.ts";
export { type Carrier, registerReviver, type Shareable, shareable, shareablesIn, type Ticket } from "./shareable.ts";
export {
  areLoaded,
  isHere,
  loadModules,
  partOf,
  requireTarget,
  resolveTarget,
  type TargetReference,
  targetOf,
} from "./target.ts";
export { type Check, type ListOptions, WaitList } from "./wait-list.ts";
export { checkTimeout, Stay, TIMED_OUT, type WaitOptions, within, withinOrThrow } from "./waiting.ts";
