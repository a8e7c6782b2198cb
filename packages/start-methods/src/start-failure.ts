/** Errors of failed starts, and how an error crosses to a process that cannot decode its class. */
import { StartError } from "@multiproc/core";
import type { ExitStatus } from "@multiproc/core/internal";

/** An error as plain data: the receiver has not loaded the modules that a richer form needs. */
export interface Failure {
  readonly name: string;
  readonly message: string;
  readonly stack?: string | undefined;
}

/** Describes an error and its cause as plain data. */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof Error)) return { name: "Error", message: String(error) };
  const { name, message, stack, cause } = error;
  const causeText = cause instanceof Error ? `\n${cause.stack}` : "";
  return { name, message, stack: `${stack}${causeText}` };
}

/** Creates the error of a start whose fork server or spare could not load its modules. */
export function preloadError(subject: string, { name, message, stack }: Failure): StartError {
  const cause = Object.assign(new Error(message), { name, stack });
  return new StartError(`${subject} cannot load its modules: ${message}`, { cause });
}

/** Creates the error of a start whose process has ended before it was ready. */
export function earlyExitError(name: string, pid: number, { code, signal }: ExitStatus): StartError {
  const exitText = signal === null ? `exit code ${code}` : `signal ${signal}`;
  const advice = "see its standard error, and check execArgv, env and the free memory";
  return new StartError(`${name} (pid ${pid}) ended with ${exitText} before it was ready: ${advice}`, {
    exitCode: code,
    signal,
  });
}
