/**
 * The part of Deno's own API that the adapter uses, so that it compiles without Deno's types.
 * `deno check` compares it with the real API, see `test/deno-api.check.ts`.
 */

/** An address in Deno's form. */
export type DenoAddress = { transport: string; hostname: string; port: number } | { transport: string; path: string };

/** A connection over a socket. */
export interface DenoConn {
  readonly remoteAddr: DenoAddress | { transport: string };
  read(buffer: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  close(): void;
  ref(): void;
  unref(): void;
  /** Exists for TCP only. */
  setNoDelay?(noDelay?: boolean): void;
}

/** A server on a socket. */
export interface DenoListener {
  readonly addr: DenoAddress | { transport: string };
  accept(): Promise<DenoConn>;
  close(): void;
  ref(): void;
  unref(): void;
}

/** A started subprocess. */
export interface DenoChild {
  readonly pid: number;
  readonly status: Promise<{ code: number; signal: string | null }>;
  readonly stdin: WritableStream<Uint8Array>;
  readonly stdout: ReadableStream<Uint8Array>;
  readonly stderr: ReadableStream<Uint8Array>;
  kill(signal?: never): void;
  ref(): void;
  unref(): void;
}

/** Options of a new subprocess. */
export interface DenoCommandOptions {
  args?: string[];
  env?: Record<string, string>;
  cwd?: string;
  stdin?: "null" | "piped";
  stdout?: "inherit" | "piped" | "null";
  stderr?: "inherit" | "piped" | "null";
  detached?: boolean;
}

/** The `Deno` namespace. */
export interface DenoApi {
  readonly pid: number;
  readonly args: string[];
  readonly build: { readonly os: string; readonly arch: string };
  readonly version: { readonly deno: string };
  readonly mainModule: string;
  readonly Command: new (file: string, options: DenoCommandOptions) => { spawn(): DenoChild };
  readonly permissions: {
    querySync(descriptor: { name: never; path?: string; variable?: string }): { state: string; partial: boolean };
  };
  readonly env: { get(name: string): string | undefined; toObject(): Record<string, string> };
  execPath(): string;
  cwd(): string;
  listen(options: never): DenoListener;
  connect(options: never): Promise<DenoConn>;
  chmodSync(path: string, mode: number): void;
  readTextFileSync(path: string): string;
  makeTempDirSync(options: { dir: string; prefix: string }): string;
  removeSync(path: string, options: { recursive: boolean }): void;
  addSignalListener(signal: never, run: () => void): void;
  removeSignalListener(signal: never, run: () => void): void;
  unrefTimer(id: number): void;
  memoryUsage(): { rss: number };
  exit(code: number): never;
  readonly stdout: { writeSync(bytes: Uint8Array): number };
  readonly stderr: { writeSync(bytes: Uint8Array): number };
}
