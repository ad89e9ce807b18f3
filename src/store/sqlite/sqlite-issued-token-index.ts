import type { Database, Statement } from "bun:sqlite";
import type { Clock } from "../../clock.ts";
import type { IssuedToken, IssuedTokenIndex } from "../../credentials/issued-token-index.ts";
import type { Secret } from "../../secret.ts";
import type { SealedCredentials } from "./sealed-credentials.ts";
import { runStatement } from "./statement.ts";

interface Found {
  readonly platform: string;
  readonly appId: string;
  readonly slot: string;
  readonly until: number;
}

/**
 * Where an app was asked for with a secret before that secret was ours, both slots may have the same token: then it is
 * the app's own. Written by hand and prepared once, because whoever sends made-up tokens makes us look each time.
 */
const FIND = `
  SELECT platform, app_id AS appId, slot, expires_at AS until, slot LIKE '~%' AS isForeign FROM credentials
  WHERE value_digest = $digest AND value IS NOT NULL AND is_rejected = 0 AND expires_at > $now
  UNION ALL
  SELECT platform, app_id, slot, previous_until, slot LIKE '~%' FROM credentials
  WHERE previous_digest = $digest AND previous_until > $now
  ORDER BY isForeign LIMIT 1`;

/** Finds the slot of an access token in SQLite by its digest. Nothing is unsealed. */
export class SqliteIssuedTokenIndex implements IssuedTokenIndex {
  readonly #find: Statement<Found, [{ $digest: string; $now: number }]>;
  readonly #total: Statement<{ writes: number }, []>;
  readonly #sealed: Pick<SealedCredentials, "digest">;
  readonly #clock: Clock;

  constructor(database: Database, sealed: Pick<SealedCredentials, "digest">, clock: Clock) {
    this.#find = database.query(FIND);
    this.#total = database.query("SELECT total_changes() AS writes");
    this.#sealed = sealed;
    this.#clock = clock;
  }

  async findIssued(token: Secret, now: number): Promise<IssuedToken | undefined> {
    const $digest = this.#sealed.digest(token);
    const found = await runStatement(this.#clock, () => this.#find.get({ $digest, $now: now }));
    if (!found) return undefined;
    const { appId, slot: name, until } = found;
    return { slot: { platform: found.platform === "wecom" ? "wecom" : "weixin", appId, name }, until };
  }

  writes(): number {
    return this.#total.get()?.writes ?? 0;
  }
}
