/**
 * The siblings' door: what the packages of this library share and users have no need of. It follows no version rules.
 *
 * @module
 */

export { ByteWriter } from "./bytes/byte-writer.ts";
export { copyBytes } from "./bytes/copy-bytes.ts";
export { randomToken } from "./bytes/random-token.ts";
export { type Channel, type ChannelHandlers, isReset, type SyncChannel } from "./channel/channel.ts";
export { connectWithRetry } from "./channel/connect-with-retry.ts";
export {
  decodeMessage,
  type EncodedMessage,
  type EncodedSink,
  encodeInto,
  encodeMessage,
  textMessage,
} from "./channel/encoded-message.ts";
export { FlushLimiter } from "./channel/flush-limiter.ts";
export { Frame, MAX_MESSAGE_BYTES } from "./channel/frame.ts";
export { flushNow, openChannels } from "./channel/open-channels.ts";
export { StreamChannel } from "./channel/stream-channel.ts";
export { Decoder } from "./codec/decode/decoder.ts";
export { assumeDense } from "./codec/encode/array-writer.ts";
export { Encoder } from "./codec/encode/encoder.ts";
export {
  closeEndpoint,
  dial,
  dialSync,
  type EndpointAddress,
  type EndpointOptions,
  exposeEndpoint,
  ownSocketPath,
  reserveSocketPath,
  whyNoDialSync,
} from "./connect/acceptor.ts";
export { packStartPayload } from "./connect/start-payload.ts";
export { Fifo } from "./fifo.ts";
export { type Forking, forking } from "./fork/load.ts";
export type {
  ChildEnvironment,
  Forker,
  ForkReason,
  ForkRefusal,
  ForkResult,
  ForkSupport,
  WatchedChild,
} from "./fork/mod.ts";
export type {
  AsyncStorage,
  ByteSource,
  ByteStream,
  DiagnosticsChannel,
  Digest,
  ExitStatus,
  Host,
  Stdio,
  StreamServer,
  Subprocess,
  Thread,
  ThreadExit,
} from "./host/host.ts";
export { host } from "./host/mod.ts";
export * from "./native/linux.ts";
export { type Native, type NativeUnavailable, native, whyNoNative } from "./native/mod.ts";
export { connectTo, openSocket, socketAddress, socketFailure } from "./native/unix-socket.ts";
export { PROTOCOL, registerErrors, registry, singleton } from "./registry.ts";
export {
  type AtForkHooks,
  afterForkInChild,
  isForkedChild,
  registerAtFork,
  runChildHooks,
  runPrepareHooks,
} from "./runtime/at-fork.ts";
export { checkOptions } from "./runtime/check-options.ts";
export { childConfig } from "./runtime/child-config.ts";
export { routeOutput, toStdio } from "./runtime/child-output.ts";
export { pendingWork } from "./runtime/pending-work.ts";
export { cleanup } from "./runtime/process-cleanup.ts";
export { childModules, type ForkServerAddress, processRole } from "./runtime/process-role.ts";
export { responsiveTimeout } from "./runtime/responsive-timeout.ts";
export {
  checkTimeout,
  checkWaitOptions,
  KeepAlive,
  TIMED_OUT,
  type WaitOptions,
  withTimeout,
  withTimeoutOrThrow,
} from "./runtime/wait-options.ts";
export { AdaptiveSpin } from "./shm/adaptive-spin.ts";
export { type Doorbell, onRing, ownDoorbell, ringDoorbell } from "./shm/doorbell.ts";
export { NamedSegment } from "./shm/named-segment.ts";
export { ACQUIRED, type AcquireResult, OWNER_DIED, RobustMutex, WOULD_BLOCK } from "./shm/robust-mutex.ts";
export { type SegmentAddress, SharedSegment, whyNoSharedMemory } from "./shm/shared-memory-segment.ts";
export { currentThreadId, hasExited, startTimeOf, type ThreadId, tidOf } from "./shm/thread-id.ts";
export { type Condition, WaitQueue, type WaitQueueOptions } from "./shm/wait-queue.ts";
export {
  type DeliveryScope,
  HANDLE,
  handleOf,
  makeShareable,
  REATTACH,
  registerReviver,
  type Shareable,
  type SharedHandle,
  shareablesIn,
} from "./targets/shareable.ts";
export {
  areLoaded,
  isLocal,
  loadModules,
  registerLibraryModule,
  requireTarget,
  resolveTarget,
  type TargetReference,
  targetOf,
} from "./targets/target.ts";
