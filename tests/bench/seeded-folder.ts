import { Database } from "bun:sqlite";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { Secret } from "../../src/secret.ts";
import { SealingKey } from "../../src/store/sealing-key.ts";
import { parseMasterKey } from "../../src/store/key-file.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";

const LIFE_MS = 7_200_000;

/** A folder with a `.env` of many apps and a database in which each of them has a living token. */
export class SeededFolder {
  readonly path = mkdtempSync(join(tmpdir(), "accesstoken-bench-"));
  readonly appIds: readonly string[];

  private constructor(count: number) {
    this.appIds = Array.from({ length: count }, (_, n) => `wx${n.toString(16).padStart(16, "0")}`);
  }

  /** Makes it; `extra` are further lines for the `.env`. */
  static async make(count: number, extra: Readonly<Record<string, string>>): Promise<SeededFolder> {
    const folder = new SeededFolder(count);
    const lines = Object.entries(extra).map(([name, value]) => `${name}=${value}`);
    for (const appId of folder.appIds) lines.push(`WEIXIN_SECRET_${appId}=${secretOf(appId)}`);
    writeFileSync(join(folder.path, ".env"), lines.join("\n"), { mode: 0o600 });
    await folder.#fill();
    return folder;
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  async #fill(): Promise<void> {
    const path = join(this.path, "data", "accesstoken.db");
    const masterKeyFile = join(this.path, "data", "master.key");
    const store = await openSqliteStore({
      path,
      masterKeyFile,
      masterKey: undefined,
      clock: systemClock,
      onKeyCreated: () => undefined,
    });
    const secrets = this.appIds.map((id) => ({ id, secret: new Secret(secretOf(id)) }));
    await store.apps.replaceAll(
      secrets.map(({ id, secret }) => ({ platform: "weixin", id, secret, tokenMode: "stable" })),
    );
    store.close();
    const key = parseMasterKey(new Secret(await Bun.file(masterKeyFile).text()));
    if (!key) throw new Error("the master key can't be read");
    this.#insertTokens(path, new SealingKey(key));
  }

  /** Row by row through the store it would take minutes: each commit is synced. */
  #insertTokens(path: string, keyring: SealingKey): void {
    const database = new Database(path);
    const insert = database.query(
      `INSERT INTO credentials (platform, app_id, slot, kind, generation, value, issued_at, expires_at, used_at, first_saved_at)
       VALUES ('weixin', ?, 'stable', 'access_token', 1, ?, ?, ?, ?, ?)`,
    );
    const now = Date.now();
    const insertAll = database.transaction(() => {
      for (const appId of this.appIds) {
        const place = { table: "credentials", row: `weixin:${appId}:stable:access_token`, column: "value" };
        const token = keyring.seal(new Secret(`90_${appId}${"t".repeat(117)}`), place);
        // Between ten minutes and the whole life is left, so that nothing is due while it is measured.
        const issuedAt = now - Math.floor(Math.random() * (LIFE_MS - 1_200_000));
        insert.run(appId, token, issuedAt, issuedAt + LIFE_MS, now, issuedAt);
      }
    });
    insertAll.immediate();
    database.close();
  }
}

function secretOf(appId: string): string {
  return appId.slice(2).repeat(2);
}
