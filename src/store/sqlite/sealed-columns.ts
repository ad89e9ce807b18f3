import type { SealedPlace } from "../sealing-key.ts";

/** A column whose texts are sealed. Its parts are SQL. */
export interface SealedColumn {
  readonly table: "data_keys" | "apps" | "credentials" | "login_answers";
  readonly column: string;
  /** Gives what the row is called in a `SealedPlace`. */
  readonly rowName: string;
  /** Makes a row without what can't be opened; undefined where nothing can take its place. */
  readonly forget: string | undefined;
}

/** Every sealed column but those of the keyring itself. Whoever seals a new one adds it, or a new master key does not open it. */
export const SEALED_COLUMNS: readonly SealedColumn[] = [
  { table: "data_keys", column: "value", rowName: "name", forget: undefined },
  {
    table: "apps",
    column: "secret",
    rowName: "platform || ':' || app_id || ':' || agent",
    forget: undefined,
  },
  {
    table: "credentials",
    column: "value",
    rowName: "platform || ':' || app_id || ':' || slot || ':' || kind",
    forget:
      "UPDATE credentials SET value = NULL, issued_at = NULL, expires_at = NULL, renew_left_ms = NULL, is_rejected = 0, value_digest = NULL",
  },
  {
    table: "credentials",
    column: "dead_value",
    rowName: "platform || ':' || app_id || ':' || slot || ':' || kind",
    forget: "UPDATE credentials SET dead_value = NULL",
  },
  { table: "login_answers", column: "answer", rowName: "key", forget: "DELETE FROM login_answers" },
];

/** Where a text of `column` stands. */
export function placeIn({ table, column }: SealedColumn, row: string): SealedPlace {
  return { table, row, column };
}
