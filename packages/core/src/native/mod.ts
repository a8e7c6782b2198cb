/**
 * The port to libc. It is loaded at the first call of {@link native}; {@link whyNoNative} says why
 * it is missing.
 */
export type { Call, Kind, Libc, Native, NativeUnavailable, Signature } from "./native.ts";
export { detach } from "./native.ts";
export { native, whyNoNative } from "./open.ts";
