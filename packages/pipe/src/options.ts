/** The options of `pipe()` and of a connection's calls. */
import type { WaitOptions } from "@multiproc/core/internal";

/**
 * Options of `pipe()`.
 *
 * @example A pipe with one direction
 * ```ts
 * import { type PipeOptions, pipe } from "@multiproc/pipe";
 *
 * const oneWay = { duplex: false } as const satisfies PipeOptions;
 * const [receiver, sender] = pipe<string>(oneWay);
 * await sender.send("hello");
 * console.log(await receiver.recv(), receiver.writable); // hello false
 * ```
 */
export interface PipeOptions {
  /** Whether both ends can send. With `false`, the first end only receives and the second only sends. @default true */
  readonly duplex?: boolean | undefined;
}

/**
 * Options of `recvMany()`.
 *
 * @example At most ten messages, within a second
 * ```ts
 * import { pipe, type RecvManyOptions } from "@multiproc/pipe";
 *
 * const options: RecvManyOptions = { max: 10, timeout: 1000 };
 * const [a, b] = pipe<number>();
 * await a.sendMany([1, 2, 3]);
 * console.log(await b.recvMany(options)); // [ 1, 2, 3 ]
 * ```
 */
export interface RecvManyOptions extends WaitOptions {
  /** The most messages to return, 1 or more. @default no limit */
  readonly max?: number | undefined;
}

/**
 * Options of `recvBytes()`.
 *
 * @example A limit for the length of a message
 * ```ts
 * import { pipe, type RecvBytesOptions } from "@multiproc/pipe";
 *
 * const options: RecvBytesOptions = { maxLength: 1024, timeout: 1000 };
 * const [a, b] = pipe();
 * await a.sendBytes(Uint8Array.of(1, 2));
 * console.log((await b.recvBytes(options)).length); // 2
 * ```
 */
export interface RecvBytesOptions extends WaitOptions {
  /** The longest message to return, in bytes. A longer one is an error that holds it. @default no limit */
  readonly maxLength?: number | undefined;
}

/**
 * Options of `recvBytesInto()`.
 *
 * @example A message behind a header of four bytes
 * ```ts
 * import { pipe, type RecvBytesIntoOptions } from "@multiproc/pipe";
 *
 * const options: RecvBytesIntoOptions = { offset: 4 };
 * const [a, b] = pipe();
 * await a.sendBytes(Uint8Array.of(1, 2));
 * const buffer = new Uint8Array(8);
 * console.log(await b.recvBytesInto(buffer, options), buffer[4]); // 2 1
 * ```
 */
export interface RecvBytesIntoOptions extends WaitOptions {
  /** Byte of the buffer at which the message starts. @default 0 */
  readonly offset?: number | undefined;
}

/**
 * Options of `sendBytes()`.
 *
 * @example A part of an array
 * ```ts
 * import { pipe, type SendBytesOptions } from "@multiproc/pipe";
 *
 * const options: SendBytesOptions = { offset: 1, size: 2 };
 * const [a, b] = pipe();
 * await a.sendBytes(Uint8Array.of(1, 2, 3, 4), options);
 * console.log(await b.recvBytes()); // Uint8Array(2) [ 2, 3 ]
 * ```
 */
export interface SendBytesOptions {
  /** Byte at which the message starts. @default 0 */
  readonly offset?: number | undefined;
  /** Bytes in the message. @default all bytes from `offset` on */
  readonly size?: number | undefined;
}
