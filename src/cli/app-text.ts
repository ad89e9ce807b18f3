import { localTime } from "./local-time.ts";
import { plainText, textFields, textTable } from "./text-table.ts";

/** One credential of an app as `/v1` shows it; what the command line reads of it. */
interface CredentialData {
  readonly state: string;
  readonly expires_at?: number;
  readonly last_used_at?: number;
  readonly next_attempt_at?: number;
  readonly last_failure?: {
    readonly code: number;
    readonly msg: string;
    readonly hint?: string;
    readonly at: number;
    readonly count: number;
  };
}

/** An app as `/v1` shows it; what the command line reads of it. */
export interface AppData {
  readonly app: string;
  readonly platform: string;
  readonly app_id: string;
  readonly agent?: string;
  readonly mode?: string;
  readonly title?: string;
  readonly source: string;
  readonly disabled: boolean;
  readonly version: number;
  readonly credentials: Readonly<Record<string, CredentialData>>;
  readonly calls_today: Readonly<Record<string, { readonly calls: number; readonly limit?: number }>>;
}

/** Apps for a person, a line each. */
export function appsText(apps: readonly AppData[]): string {
  return textTable(
    ["APP", "PLATFORM", "MODE", "SOURCE", "STATE", "EXPIRES", "TITLE"],
    apps.map(({ app, platform, mode, source, disabled, credentials, title }) => {
      const token = credentials["access_token"];
      return [
        app,
        platform,
        mode,
        source,
        disabled ? "disabled" : token?.state,
        localTime(token?.expires_at),
        title,
      ];
    }),
  );
}

/** One app for a person: what it is, how its credentials are, what failed, and what today's calls were. */
export function appText(app: AppData): string {
  const credentials = Object.entries(app.credentials);
  return [
    textFields({
      app: app.app,
      title: app.title,
      platform: app.platform,
      mode: app.mode,
      source: app.source,
      disabled: app.disabled ? "yes" : "no",
      version: String(app.version),
    }),
    textTable(
      ["CREDENTIAL", "STATE", "EXPIRES", "LAST USED", "NEXT ATTEMPT"],
      credentials.map(([kind, { state, expires_at, last_used_at, next_attempt_at }]) => [
        kind,
        state,
        localTime(expires_at),
        localTime(last_used_at),
        localTime(next_attempt_at),
      ]),
    ),
    ...credentials.flatMap(([kind, { last_failure }]) =>
      last_failure ? [failureText(kind, last_failure)] : [],
    ),
    ...(Object.keys(app.calls_today).length === 0 ? [] : [callsText(app.calls_today)]),
  ].join("\n");
}

function failureText(kind: string, failure: NonNullable<CredentialData["last_failure"]>): string {
  const { code, msg, hint, at, count } = failure;
  const first = `${kind}: ${plainText(msg)} (code ${code}, ${count}×, ${localTime(at)})\n`;
  return hint === undefined ? first : `${first}${plainText(hint)}\n`;
}

function callsText(calls: AppData["calls_today"]): string {
  return textTable(
    ["ENDPOINT", "CALLS TODAY", "LIMIT"],
    Object.entries(calls).map(([endpoint, { calls, limit }]) => [endpoint, String(calls), limit?.toString()]),
  );
}
