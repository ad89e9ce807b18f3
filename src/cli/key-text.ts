import { localTime } from "./local-time.ts";
import { textTable } from "./text-table.ts";

/** A key as `/v1` shows it. */
export interface KeyData {
  /** Its public name: its first characters. */
  readonly key: string;
  readonly label: string;
  readonly state: string;
  readonly created_at: number;
  readonly expires_at?: number;
  readonly revoked_at?: number;
  readonly last_used_at?: number;
  /** The key itself, in the one answer that has made it. */
  readonly api_key?: string;
}

/** Keys for a person, a line each. */
export function keysText(keys: readonly KeyData[]): string {
  return textTable(
    ["KEY", "STATE", "CREATED", "EXPIRES", "LAST USED", "LABEL"],
    keys.map(({ key, state, created_at, expires_at, revoked_at, last_used_at, label }) => [
      key,
      state,
      localTime(created_at),
      localTime(revoked_at ?? expires_at),
      localTime(last_used_at),
      label,
    ]),
  );
}
