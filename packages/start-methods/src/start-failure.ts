/** Why there is no child: in words, and as another process can be told. */
import { StartError } from "@multiproc/core";
import type { ExitStatus } from "@multiproc/core/internal";

/** An error as plain data, since whoever gets it has not the modules to decode a richer one. */
export interface Failure {
  readonly name: string;
  readonly message: string;
  readonly stack?: string | undefined;
}

/** What is told of an error, with its cause. */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof Error)) return { name: "Error", message: String(error) };
  const { name, message, stack, cause } = error;
  const causeText = cause instanceof Error ? `\n${cause.stack}` : "";
  return { name, message, stack: `${stack}${causeText}` };
}

/** The error for who wanted a process from it. */
export function preloadError(subject: string, { name, message, stack }: Failure): StartError {
  const cause = Object.assign(new Error(message), { name, stack });
  return new StartError(`${subject} cannot load its modules: ${message}`, { cause });
}

/** The error for who started a process that is gone before it could do anything. */
export function earlyExitError(name: string, pid: number, { code, signal }: ExitStatus): StartError {
  const exitText = signal === null ? `exit code ${code}` : `signal ${signal}`;
  return new StartError(
    `${name} (pid ${pid}) ended with ${exitText} before it was ready: see what it wrote to its standard error, and check execArgv, env and the memory that is left`,
    { exitCode: code, signal },
  );
}
