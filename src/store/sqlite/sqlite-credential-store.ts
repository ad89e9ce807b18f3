import { and, eq, sql } from "drizzle-orm";
import type { BunSQLiteDatabase } from "drizzle-orm/bun-sqlite";
import type { Clock } from "../../clock.ts";
import {
  type Credential,
  type CredentialKind,
  type CredentialName,
  type CredentialRecord,
  credentialKey,
} from "../../credentials/credential.ts";
import type { CredentialStore } from "../../credentials/credential-store.ts";
import type { Platform } from "../../errors.ts";
import type { Keyring, SealedPlace } from "../keyring.ts";
import { credentials } from "./schema.ts";
import { runStatement } from "./statement.ts";

const TARGET = [credentials.platform, credentials.appId, credentials.slot, credentials.kind];
const CLEARED = { value: null, issuedAt: null, expiresAt: null };

/** Credentials in SQLite. Each method is one statement or one transaction, and is on the disk when it resolves. */
export class SqliteCredentialStore implements CredentialStore {
  readonly #database: BunSQLiteDatabase;
  readonly #keyring: Keyring;
  readonly #clock: Clock;

  constructor(database: BunSQLiteDatabase, keyring: Keyring, clock: Clock) {
    this.#database = database;
    this.#keyring = keyring;
    this.#clock = clock;
  }

  async find(name: CredentialName): Promise<CredentialRecord | undefined> {
    const row = await runStatement(this.#clock, () =>
      this.#database.select().from(credentials).where(isNamed(name)).get(),
    );
    return row && this.#toRecord(name, row);
  }

  async listOfApp(platform: Platform, appId: string, kind: CredentialKind): Promise<CredentialName[]> {
    const { slot } = credentials;
    const isOfApp = and(
      eq(credentials.platform, platform),
      eq(credentials.appId, appId),
      eq(credentials.kind, kind),
    );
    const rows = await runStatement(this.#clock, () =>
      this.#database.select({ slot }).from(credentials).where(isOfApp).all(),
    );
    return rows.map((row) => ({ slot: { platform, appId, name: row.slot }, kind }));
  }

  async save(name: CredentialName, credential: Credential, generation: number): Promise<CredentialRecord> {
    const written = {
      value: this.#keyring.seal(credential.value, place(name)),
      issuedAt: credential.issuedAt,
      expiresAt: credential.expiresAt,
      generation: generation + 1,
    };
    const saved = await runStatement(this.#clock, () =>
      this.#database
        .insert(credentials)
        .values({ ...columns(name), ...written })
        .onConflictDoUpdate({
          target: TARGET,
          set: written,
          setWhere: eq(credentials.generation, generation),
        })
        .returning({ generation: credentials.generation })
        .get(),
    );
    if (saved) return { generation: saved.generation, credential };
    return this.#standing(name);
  }

  async clear(name: CredentialName, generation?: number): Promise<CredentialRecord> {
    const raised = { ...CLEARED, generation: sql`${credentials.generation} + 1` };
    const setWhere = generation === undefined ? undefined : eq(credentials.generation, generation);
    const cleared = await runStatement(this.#clock, () =>
      this.#database
        .insert(credentials)
        .values({ ...columns(name), ...CLEARED, generation: 1 })
        .onConflictDoUpdate({ target: TARGET, set: raised, ...(setWhere ? { setWhere } : {}) })
        .returning({ generation: credentials.generation })
        .get(),
    );
    if (cleared) return { generation: cleared.generation, credential: undefined };
    return this.#standing(name);
  }

  async #standing(name: CredentialName): Promise<CredentialRecord> {
    return (await this.find(name)) ?? { generation: 0, credential: undefined };
  }

  #toRecord(name: CredentialName, row: typeof credentials.$inferSelect): CredentialRecord {
    const { generation, value, issuedAt, expiresAt } = row;
    if (value === null || issuedAt === null || expiresAt === null)
      return { generation, credential: undefined };
    return { generation, credential: { value: this.#keyring.open(value, place(name)), issuedAt, expiresAt } };
  }
}

function columns({ slot, kind }: CredentialName) {
  return { platform: slot.platform, appId: slot.appId, slot: slot.name, kind };
}

function isNamed({ slot, kind }: CredentialName) {
  return and(
    eq(credentials.platform, slot.platform),
    eq(credentials.appId, slot.appId),
    eq(credentials.slot, slot.name),
    eq(credentials.kind, kind),
  );
}

function place(name: CredentialName): SealedPlace {
  return { table: "credentials", row: credentialKey(name), column: "value" };
}
