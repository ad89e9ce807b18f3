import { Database } from "bun:sqlite";

const LIFE_MS = 7_200_000;

/**
 * Changes the access tokens of apps in a SQLite database as another process would: one after the other, so that no two
 * changes at a time are of the same app. There is no value in them. Use it with `using`.
 */
export class CredentialChanges implements Disposable {
  readonly #apps: readonly string[];
  readonly #database: Database;
  readonly #change: (count: number) => void;
  /** How many changes were made. */
  made = 0;

  /** `now` is when the tokens are issued, in epoch milliseconds. */
  constructor(path: string, apps: readonly string[], now: number) {
    this.#apps = apps;
    this.#database = new Database(path);
    this.#database.run("PRAGMA busy_timeout = 10000");
    this.#database.run("INSERT OR IGNORE INTO revisions (name, number) VALUES ('credentials', 1)");
    const insert = this.#database.query(
      `INSERT OR REPLACE INTO credentials (platform, app_id, slot, kind, generation, value, issued_at, expires_at, epoch)
       VALUES ('weixin', ?, 'stable', 'access_token', 1, x'00', ?, ?, 0)`,
    );
    this.#database.transaction(() => apps.forEach((app) => insert.run(app, now, now + LIFE_MS))).immediate();
    const raise = this.#database.query("UPDATE revisions SET number = number + 1 WHERE name = 'credentials'");
    const touch = this.#database.query(
      `UPDATE credentials SET generation = generation + 1,
       epoch = (SELECT number FROM revisions WHERE name = 'credentials') WHERE app_id = ?`,
    );
    const change = this.#database.transaction((count: number) => {
      raise.run();
      for (let n = 0; n < count; n++) touch.run(this.#apps[this.made++ % this.#apps.length] ?? "");
    });
    this.#change = (count) => change.immediate(count);
  }

  /** Makes so many changes in one transaction. */
  change(count = 1): void {
    this.#change(count);
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}
