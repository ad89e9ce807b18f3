import { failureEnvelope } from "../envelope.ts";
import { ServiceError } from "../errors.ts";
import { visibleJson } from "../log.ts";
import { ApiRefusal } from "./api.ts";
import { halfOf, OutputFailure, plainText, type Terminal } from "./terminal.ts";
import type { Language } from "../config.ts";

/** The process's exit code: 0 done, 1 failed, 2 wrong usage, 3 the service or its database is not ready, 4 warnings alone. */
export type ExitCode = 0 | 1 | 2 | 3 | 4;

/** Whether the command was used wrongly, as found by this program and not by the service. */
export function isUsageError(error: unknown): boolean {
  return (
    error instanceof ServiceError && error.code === "invalid_parameter" && !(error instanceof ApiRefusal)
  );
}

/**
 * The failure as a person reads it: a line, and a second with what to do. In their language; without one in both, as in a log
 * that anybody may read.
 */
export function failureText(error: ServiceError, language?: Language): string {
  const say = (text: string) => plainText(language ? halfOf(text, language) : text);
  const hint = error.hint === undefined ? "" : `\n${say(error.hint)}`;
  return `accesstoken: ${say(error.message)}${error instanceof ApiRefusal ? numbersOf(error) : ""}${hint}`;
}

function numbersOf({ envelope }: ApiRefusal): string {
  const { code, trace_id, retry_after } = envelope;
  const wait = retry_after === undefined ? "" : `, retry_after ${retry_after}`;
  return ` (code ${code}${wait}, trace_id ${plainText(trace_id)})`;
}

/** `data` as one JSON document. */
export function jsonText(data: unknown): string {
  return `${visibleJson(data, 2)}\n`;
}

/**
 * Shows a command's failure, with `isJson` as the service's own answer or one like it, and returns the exit code: 3 when the
 * service or its database can't be reached or used just now.
 *
 * Throws what is for the program itself to report: wrong usage, output that can't be written, and what is no failure of ours.
 */
export async function showFailure(error: unknown, terminal: Terminal, isJson: boolean): Promise<ExitCode> {
  if (!(error instanceof ServiceError) || isUsageError(error) || error instanceof OutputFailure) throw error;
  const answer = error instanceof ApiRefusal ? error.envelope : failureEnvelope(error, "");
  if (isJson) await terminal.print(jsonText(answer));
  else terminal.tell(failureText(error, terminal.language));
  return error.code === "unavailable" || error.code === "store_unusable" ? 3 : 1;
}

/** Resolves with the name of the signal when this process is asked to stop: SIGTERM, or SIGINT from a terminal. */
export function stopSignal(): Promise<"SIGTERM" | "SIGINT"> {
  return new Promise((resolve) => {
    process.once("SIGTERM", () => resolve("SIGTERM"));
    process.once("SIGINT", () => resolve("SIGINT"));
  });
}
