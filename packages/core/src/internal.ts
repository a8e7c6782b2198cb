/**
 * The internal entry point: what the packages of this library share. Users do not need it, and it
 * follows no version rules.
 *
 * @module
 */

// ── Runtime: the state of this process, its start and its end ──

export { Fifo } from "./fifo.ts";
export { PROTOCOL, registerErrors, registry, singleton } from "./registry.ts";
export {
  type AtForkHooks,
  afterForkInChild,
  registerAtFork,
  runChildHooks,
  runPrepareHooks,
} from "./runtime/at-fork.ts";
export { checkOptions, describeValue } from "./runtime/check-options.ts";
export { childConfig } from "./runtime/child-config.ts";
export { routeOutput, toStdio } from "./runtime/child-output.ts";
export { pendingWork } from "./runtime/pending-work.ts";
export { cleanup } from "./runtime/process-cleanup.ts";
export { childModules, type ForkServerAddress, processRole } from "./runtime/process-role.ts";
export { responsiveTimeout } from "./runtime/responsive-timeout.ts";
export {
  checkTimeout,
  checkTimeoutAndSignal,
  checkWaitOptions,
  KeepAlive,
  MAX_TIMER_MS,
  TIMED_OUT,
  type WaitOptions,
  withTimeout,
  withTimeoutOrThrow,
} from "./runtime/wait-options.ts";

// ── Targets: functions and objects that other processes find ──

export {
  assertMayStart,
  claimRefusal,
  dropImportContexts,
  isImporting,
  latestRefusal,
  outsideImports,
} from "./targets/import-guard.ts";
export { areLoaded, loadModules, registerLibraryModule } from "./targets/module-loader.ts";
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
export { isLocal, requireTarget, resolveTarget, type TargetReference } from "./targets/target.ts";

// ── Connections: endpoints that other processes dial ──

export { closeEndpoint, type EndpointAddress, exposeEndpoint, reserveSocketPath } from "./connect/acceptor.ts";
export { dial, dialSync, whyNoDialSync } from "./connect/dial.ts";
export { packStartPayload } from "./connect/start-payload.ts";

// ── Channels: messages over a stream or through shared memory ──

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
export { PendingRequests } from "./channel/request-reply.ts";
export { StreamChannel } from "./channel/stream-channel.ts";

// ── Codec: values as bytes (only its benchmark uses the first three) ──

export { ByteWriter } from "./bytes/byte-writer.ts";
export { Decoder } from "./codec/decode/decoder.ts";
export { assumeDense } from "./codec/encode/array-writer.ts";
export { Encoder } from "./codec/encode/encoder.ts";

// ── Shared memory, and synchronization in it ──

export { AdaptiveSpin } from "./shm/adaptive-spin.ts";
export { NamedSegment } from "./shm/named-segment.ts";
export { type AcquireResult, OWNER_DIED, RobustMutex, WOULD_BLOCK } from "./shm/robust-mutex.ts";
export { type SegmentAddress, SharedSegment, whyNoSharedMemory } from "./shm/shared-memory-segment.ts";
export { currentThreadId, hasExited, tidOf } from "./shm/thread-id.ts";
export { WaitQueue, type WaitQueueOptions } from "./shm/wait-queue.ts";

// ── Host: Node or Deno ──

export type {
  AsyncStorage,
  ByteSource,
  ByteStream,
  DiagnosticsChannel,
  Digest,
  ExitStatus,
  StreamServer,
  Subprocess,
  Thread,
  ThreadExit,
} from "./host/host.ts";
export { host } from "./host/mod.ts";

// ── fork(): a copy of this process ──

export { type Forking, forking } from "./fork/load.ts";
export type { Forker, ForkReason, ForkRefusal, ForkResult, ForkSupport, WatchedChild } from "./fork/mod.ts";

// ── The C library ──

export {
  AF_UNIX,
  ECONNREFUSED,
  ENOENT,
  ENOMEM,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDWR,
  POLLIN,
  POLLOUT,
  SIG_BLOCK,
  SIG_IGN,
  SIG_SETMASK,
  SIGINT,
  SIGKILL,
  SOCK_CLOEXEC,
  SYS_PIDFD_OPEN,
} from "./native/linux.ts";
export { type Native, native, whyNoNative } from "./native/mod.ts";
export { connectTo, openSocket, socketAddress, socketFailure } from "./native/unix-socket.ts";
