import { type Envelope, failureEnvelope } from "../envelope.ts";
import { ServiceError } from "../errors.ts";
import { ApiRefusal } from "./api.ts";
import { plainText } from "./terminal.ts";

/** The process's exit code: 0 done, 1 failed, 2 wrong usage, 3 the service or its database is not ready. */
export type ExitCode = 0 | 1 | 2 | 3;

/** Whether the command was used wrongly, as found by this program and not by the service. */
export function isUsageError(error: unknown): boolean {
  return (
    error instanceof ServiceError && error.code === "invalid_parameter" && !(error instanceof ApiRefusal)
  );
}

/** The failure as a person reads it: a line, and a second with what to do. */
export function failureText(error: ServiceError): string {
  const hint = error.hint === undefined ? "" : `\n${plainText(error.hint)}`;
  return `accesstoken: ${plainText(error.message)}${error instanceof ApiRefusal ? numbersOf(error) : ""}${hint}`;
}

function numbersOf({ envelope }: ApiRefusal): string {
  const { code, trace_id, retry_after } = envelope;
  const wait = retry_after === undefined ? "" : `, retry_after ${retry_after}`;
  return ` (code ${code}${wait}, trace_id ${plainText(trace_id)})`;
}

/** The failure as a program reads it: the service's own answer, or one like it. */
export function failureAnswer(error: ServiceError): Envelope {
  return error instanceof ApiRefusal ? error.envelope : failureEnvelope(error, "");
}

/** Whether the service or its database can't be reached or used just now. */
export function isNotReady(error: ServiceError): boolean {
  return error.code === "unavailable" || error.code === "store_unusable";
}

/** Resolves with the name of the signal when this process is asked to stop: SIGTERM, or SIGINT from a terminal. */
export function stopSignal(): Promise<"SIGTERM" | "SIGINT"> {
  return new Promise((resolve) => {
    process.once("SIGTERM", () => resolve("SIGTERM"));
    process.once("SIGINT", () => resolve("SIGINT"));
  });
}
