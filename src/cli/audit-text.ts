import type { Language } from "../config.ts";
import { localTime } from "./local-time.ts";
import { plainText, textTable } from "./text-table.ts";

/** An entry as `/v1/audit` shows it; what the command line reads of it. */
export interface EntryData {
  readonly id: number;
  readonly at: number;
  readonly client: string;
  readonly environment?: string;
  readonly address: string;
  readonly action: string;
  readonly app?: string;
  readonly outcome: string;
  readonly detail?: Readonly<Record<string, unknown>>;
}

/** Reads of one client, app and minute. */
export interface ReadsData {
  readonly minute: number;
  readonly client: string;
  readonly environment?: string;
  readonly action: string;
  readonly app: string;
  readonly count: number;
}

/** Refusals of one address, route and minute. */
export interface RefusalsData {
  readonly minute: number;
  readonly address: string;
  readonly client?: string;
  readonly route: string;
  readonly code: number;
  readonly count: number;
}

/** What a look at the whole chain found. */
export interface VerdictData {
  readonly intact: boolean;
  readonly entries: number;
  readonly fault?: { readonly id: number; readonly message: string };
  readonly last?: { readonly id: number; readonly hash: string };
}

/** Entries for a person, a line each. */
export function entriesText(entries: readonly EntryData[]): string {
  return textTable(
    ["ID", "TIME", "CLIENT", "ENVIRONMENT", "ADDRESS", "ACTION", "APP", "OUTCOME", "DETAIL"],
    entries.map(({ id, at, client, environment, address, action, app, outcome, detail }) => [
      String(id),
      localTime(at),
      client,
      environment,
      address,
      action,
      app,
      outcome,
      detailText(detail),
    ]),
  );
}

/** Counts of reads for a person, a line each. */
export function readsText(reads: readonly ReadsData[]): string {
  return textTable(
    ["MINUTE", "CLIENT", "ENVIRONMENT", "ACTION", "APP", "COUNT"],
    reads.map(({ minute, client, environment, action, app, count }) => [
      localTime(minute),
      client,
      environment,
      action,
      app,
      String(count),
    ]),
  );
}

/** Counts of refusals for a person, a line each. */
export function refusalsText(refusals: readonly RefusalsData[]): string {
  return textTable(
    ["MINUTE", "ADDRESS", "CLIENT", "ROUTE", "CODE", "COUNT"],
    refusals.map(({ minute, address, client, route, code, count }) => [
      localTime(minute),
      address,
      client,
      route,
      String(code),
      String(count),
    ]),
  );
}

/** A verdict for a person. */
export function verdictText({ intact, entries, fault, last }: VerdictData, language: Language): string {
  const where = last ? `\n${last.id} ${plainText(last.hash)}` : "";
  if (intact) {
    return {
      en: `Intact: ${entries} entries. The last one:${where || " none"}\n`,
      zh: `完整：共${entries}条。最后一条：${where || "无"}\n`,
    }[language];
  }
  const what = plainText(fault?.message ?? "");
  return {
    en: `NOT INTACT at entry ${fault?.id} of ${entries}: ${what}\n`,
    zh: `不完整：共${entries}条，第${fault?.id}条有问题：${what}\n`,
  }[language];
}

function detailText(detail: EntryData["detail"]): string {
  return Object.entries(detail ?? {})
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
}
