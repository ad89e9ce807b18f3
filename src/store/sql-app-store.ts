import { setImmediate as nextTurn } from "node:timers/promises";
import { and, eq, getTableColumns, inArray, sql } from "drizzle-orm";
import { outdated } from "../apps/app-administration.ts";
import { type App, appName, type AppStore, nameOfApp, type SlotName } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import type { AuditEntry } from "../audit/audit-entry.ts";
import { backoffKeysOfApp } from "../credentials/backoff.ts";
import { ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";
import type { Keyring } from "./keyring.ts";
import { tryOpen } from "./sealing-key.ts";
import type { Queries, SqlDatabase } from "./sql.ts";
import {
  type AppRow,
  isIssuedTo,
  isNamed,
  isVersion,
  type OpenableRow,
  rowKey,
  type RowName,
  rowNameOf,
  secretPlace,
  slotOf,
  thirdPartyOf,
  toColumns,
} from "./app-rows.ts";
import type { AuditChain } from "./audit-chain.ts";
import { cutOffTokens } from "./rejected-tokens.ts";
import { checkRow, readable } from "./damaged-rows.ts";
import {
  type AppSource,
  changesBetween,
  ENVIRONMENT,
  type EnvironmentChange,
  environmentEntry,
  fingerprintOf,
  stampOf,
} from "./environment-apps.ts";
import { removeBackoffs } from "./sql-pacing-store.ts";
import { forgotten } from "./credential-rows.ts";
import { type OwnChanges, raiseCompatibleFrom, raiseEpoch } from "./epochs.ts";
import {
  apps,
  callbackRoutes,
  callbacks,
  callbackTargets,
  credentials,
  fingerprints,
  pacing,
  redirectOrigins,
} from "./schema.ts";

/** So many are read at once. */
const PIECE = 500;
/** So many changes of the environment are one transaction: about half a second, in which nobody else writes. */
const MAX_CHANGES = 500;
/** How long others may write between two of them; none that waits for the lock sleeps longer. */
const PAUSE_MS = 40;
/** So often changes are planned anew, because somebody else has changed apps meanwhile. */
const MAX_PLANS = 20;
/** Begins what stands in the place of the digest while the very first apps are being written. */
const FIRST = "first ";
/** What says where an app's pushes and web logins go. */
const SETTINGS_TABLES = [callbacks, callbackTargets, callbackRoutes, redirectOrigins] as const;
/** An app that may have been disabled is. */
const COLUMNS = {
  ...getTableColumns(apps),
  isDisabled: sql<boolean>`${apps.isDisabled} <> 0`.mapWith(Boolean),
};

/** Apps in a SQL database. */
export class SqlAppStore implements AppStore {
  readonly #database: SqlDatabase;
  readonly #keyring: Keyring;
  readonly #clock: Clock;
  readonly #audit: AuditChain;
  readonly #changes: OwnChanges;
  readonly #platformsFrom: number;
  readonly #onDamaged: (row: string) => void;
  /** By row, the texts of managed apps that did not open: each is reported once. */
  readonly #damaged = new Map<string, string>();

  constructor(parts: AppStoreParts) {
    this.#database = parts.database;
    this.#keyring = parts.keyring;
    this.#clock = parts.clock;
    this.#audit = parts.audit;
    this.#changes = parts.changes;
    this.#platformsFrom = parts.platformsFrom;
    this.#onDamaged = parts.onDamaged ?? (() => undefined);
  }

  async list(): Promise<App[]> {
    return this.#listOf(undefined, (row) => this.#toApp(row));
  }

  async listManaged(): Promise<App[]> {
    return this.#listOf("managed", (row) => this.#toApp(row));
  }

  async create(app: App, entry: AuditEntry): Promise<void> {
    await this.#change(entry, async (queries, version) => {
      const written = await queries
        .insert(apps)
        .values({
          ...toColumns(app),
          ...(await this.#managedColumns(queries, app)),
          version,
          secretVersion: version,
        })
        .onConflictDoNothing()
        .returning({ version: apps.version })
        .get();
      if (!written) throw new ServiceError("conflict", "该应用已存在 (the app exists)");
      await this.#forget(queries, [toColumns(app)]);
      // A process that does not know them would take them for apps of their own, and send WeChat their secrets as such.
      if (app.role || app.authorization) await raiseCompatibleFrom(queries, this.#platformsFrom);
    });
  }

  async update(app: App, entry: AuditEntry, secretVersion?: number): Promise<void> {
    const name = toColumns(app);
    await this.#change(entry, async (queries) => {
      const version = app.managed?.version ?? 0;
      const [current] = await queries
        .select()
        .from(apps)
        .where(isVersion(name, version - 1));
      if (!current) throw outdated();
      if (secretVersion !== undefined && current.secretVersion !== secretVersion) throw outdated();
      // First: it asks for the newest key, which the stored secret may be encrypted under already.
      const columns = {
        ...(await this.#managedColumns(queries, app)),
        ...{ tokenMode: name.tokenMode, thirdParty: name.thirdParty },
      };
      const isKept = app.authorization !== undefined && secretVersion === undefined;
      const hasSecret = isKept || (this.#openManaged(this.#openable(current))?.equals(app.secret) ?? false);
      await queries
        .update(apps)
        .set(
          hasSecret
            ? { ...columns, secret: current.secret }
            : { ...columns, secretVersion: sql`${apps.secretVersion} + 1` },
        )
        .where(isNamed(name));
      const wasLost = thirdPartyOf(current).authorization?.lostAt !== undefined;
      const isTurned = wasLost !== (app.authorization?.lostAt !== undefined);
      if (!hasSecret || isTurned) await this.#forget(queries, [name]);
      else if (columns.isDisabled) await cutOffTokens(queries, [nameOfApp(app)]);
    });
  }

  async remove(app: App, entry: AuditEntry): Promise<void> {
    const name = toColumns(app);
    await this.#change(entry, async (queries) => {
      const gone = await queries
        .delete(apps)
        .where(isVersion(name, app.managed?.version ?? 0))
        .returning({ version: apps.version })
        .get();
      if (!gone) throw outdated();
      await this.#forget(queries, [name]);
      // Whoever adds an app of that name later must not send its pushes and logins where these went.
      for (const table of SETTINGS_TABLES)
        await queries.delete(table).where(eq(table.app, appName(slotOf(name))));
      for (const topic of ["callbacks", "environments"] as const) await raiseEpoch(queries, topic);
    });
  }

  async find(app: SlotName): Promise<App | undefined> {
    const row = await this.#rowOf(app);
    return row && this.#toApp(row);
  }

  async findSecret(app: SlotName) {
    const row = await this.#rowOf(app);
    return row && { secret: row.openSecret(), version: row.secretVersion };
  }

  async exchangeSecret(app: SlotName, version: number, secret: Secret): Promise<boolean> {
    const name = rowNameOf(app);
    return this.#database.transact(async (queries) => {
      const sealingKey = await this.#keyring.sealingKey(queries);
      const written = await queries
        .update(apps)
        .set({ secret: sealingKey.seal(secret, secretPlace(name)), secretVersion: version + 1 })
        .where(and(isNamed(name), eq(readable(apps.secretVersion), version)))
        .returning({ version: apps.version })
        .get();
      return written !== undefined;
    });
  }

  async replaceAll(all: readonly App[]): Promise<readonly App[]> {
    for (let plan = 1; plan <= MAX_PLANS; plan++) {
      const both = await this.#replaceAll(all);
      if (both) return both;
    }
    throw new ServiceError(
      "unavailable",
      "其他进程正在不断更改应用，请稍后重试 (other processes keep changing the apps; try again later)",
    );
  }

  /** As `replaceAll`; undefined when somebody else has changed apps since this one looked: what is written by then is true. */
  async #replaceAll(all: readonly App[]): Promise<readonly App[] | undefined> {
    let stamp = await this.#database.snapshot(stampOf);
    const managed = new Set(await this.#listOf("managed", rowKey));
    const isManaged = (app: App) => managed.has(rowKey(toColumns(app)));
    const both = managed.size === 0 ? [] : all.filter(isManaged);
    const wanted = both.length === 0 ? all : all.filter((app) => !isManaged(app));
    const written = fingerprintOf(wanted);
    const { text } = both.length === 0 ? written : fingerprintOf(all);
    const digest = this.#keyring.environmentDigest(text);
    if (await this.#isUnchanged(written.names, digest)) return both;
    const stored = await this.#listOf("environment", (row) => row);
    // The first ones are no change, and there may be a hundred thousand.
    const isFirst = stored.length === 0 || stamp.digest.startsWith(FIRST);
    const changes = changesBetween(stored, wanted.map(toColumns), isFirst);
    changes.push(...both.map(toColumns).map((name) => ({ name, isReset: true })));
    const unfinished = `${isFirst ? FIRST : "unfinished "}${crypto.randomUUID()}`;
    let from = 0;
    do {
      // Others wait for the lock, and look for it as often.
      if (from > 0) await this.#clock.sleep(PAUSE_MS);
      const piece = changes.slice(from, from + MAX_CHANGES);
      from += MAX_CHANGES;
      const [before, after] = [stamp, from < changes.length ? unfinished : digest];
      const isWritten = await this.#database.transact(async (queries) => {
        const { digest: last, epoch } = await stampOf(queries);
        if (last !== before.digest || epoch !== before.epoch) return false;
        await this.#write(queries, piece);
        await queries
          .insert(fingerprints)
          .values({ name: ENVIRONMENT, digest: after })
          .onConflictDoUpdate({ target: fingerprints.name, set: { digest: after } });
        return true;
      });
      await this.#changes.expire();
      if (!isWritten) return undefined;
      stamp = { ...before, digest: after };
    } while (from < changes.length);
    return both;
  }

  /** Writes changes of the environment, with their audit entries. */
  async #write(queries: Queries, changes: readonly EnvironmentChange[]): Promise<void> {
    const sealingKey = await this.#keyring.sealingKey(queries);
    const reset = changes.filter(({ isReset }) => isReset).map(({ name }) => name);
    await this.#forget(queries, reset);
    for (const { name, columns, action } of changes) {
      if (action === "app.deleted") await queries.delete(apps).where(isNamed(name));
      if (columns) {
        const secret = sealingKey.seal(columns.secret, secretPlace(name));
        const set = { tokenMode: columns.tokenMode, secret, updatedAt: this.#clock.now() };
        const target = [apps.platform, apps.appId, apps.agent];
        await queries
          .insert(apps)
          .values({ ...columns, ...set })
          .onConflictDoUpdate({ target, set });
      }
      if (action) await this.#audit.append(queries, environmentEntry(action, name));
    }
  }

  /**
   * Whether the apps of the environment are those that were written last, found out without opening a secret. Their
   * names are compared with the rows themselves: one whose name was damaged must be noticed.
   */
  #isUnchanged(names: string, digest: string): Promise<boolean> {
    const isLast = and(eq(fingerprints.name, ENVIRONMENT), eq(fingerprints.digest, digest));
    const { platform, appId, agent, tokenMode } = apps;
    const name = sql`${platform} || ' ' || ${appId} || ' ' || ${agent} || ' ' || ${tokenMode}`;
    return this.#database.read(async (queries) => {
      if ((await queries.select().from(fingerprints).where(isLast)).length === 0) return false;
      const lines = queries
        .select({ line: sql<string>`${name}`.as("line") })
        .from(apps)
        .where(eq(apps.source, ENVIRONMENT))
        .orderBy(platform, appId, agent)
        .as("lines");
      const [stored] = await queries
        .select({ names: sql<string | null>`string_agg(${lines.line}, ${"\n"})` })
        .from(lines);
      return (stored?.names ?? "") === names;
    });
  }

  /**
   * What `take` makes of the rows, and of what opens their secrets: of one moment, with its keys. There may be a hundred
   * thousand: they are read in pieces, between which others have their turn.
   */
  #listOf<T>(source: AppSource | undefined, take: (row: OpenableRow) => T): Promise<T[]> {
    const { platform, appId, agent } = apps;
    const isOf = source && eq(apps.source, source);
    return this.#database.snapshot(async (queries) => {
      await this.#keyring.refresh(queries);
      const all: T[] = [];
      for (let last: RowName | undefined; ; await nextTurn()) {
        const isAfter =
          last && sql`(${platform}, ${appId}, ${agent}) > (${last.platform}, ${last.appId}, ${last.agent})`;
        const rows = await queries
          .select(COLUMNS)
          .from(apps)
          .where(and(isOf, isAfter))
          .orderBy(platform, appId, agent)
          .limit(PIECE);
        for (const row of rows) all.push(take(this.#openable(row)));
        if (rows.length < PIECE) return all;
        last = rows.at(-1);
      }
    });
  }

  #rowOf(app: SlotName): Promise<OpenableRow | undefined> {
    return this.#database.snapshot(async (queries) => {
      await this.#keyring.refresh(queries);
      const [found] = await queries
        .select(COLUMNS)
        .from(apps)
        .where(isNamed(rowNameOf(app)));
      return found && this.#openable(found);
    });
  }

  #openable(stored: AppRow): OpenableRow {
    const { row, damaged } = checkRow(apps, stored);
    const hasMode = row.platform === "wecom" || row.tokenMode === "stable" || row.tokenMode === "classic";
    const isWhole = damaged.length === 0 && hasMode;
    // Those of the environment are written anew at each start.
    if (row.source === "managed" && !isWhole) return { ...row, openSecret: failToOpen };
    return { ...row, openSecret: this.#keyring.opener(row.secret, secretPlace(row)) };
  }

  /** Raises the epoch, does a change of managed apps, which is given it, and writes its entry, all or nothing. */
  async #change(entry: AuditEntry, work: (queries: Queries, epoch: number) => Promise<void>): Promise<void> {
    await this.#database.transact(async (queries) => {
      await work(queries, await raiseEpoch(queries, "apps"));
      await this.#audit.append(queries, entry, "apps");
    });
    await this.#changes.expire();
  }

  /** Clears what was issued to apps, and removes their backoffs. */
  async #forget(queries: Queries, names: readonly RowName[]): Promise<void> {
    if (names.length === 0) return;
    await cutOffTokens(
      queries,
      names.map((name) => appName(slotOf(name))),
    );
    for (const name of names)
      await queries.update(credentials).set(forgotten(this.#clock.now())).where(isIssuedTo(name));
    await removeBackoffs(
      queries,
      names.map((name) => inArray(pacing.key, backoffKeysOfApp(slotOf(name)))),
    );
    await raiseEpoch(queries, "credentials");
  }

  async #managedColumns(queries: Queries, app: App) {
    const sealingKey = await this.#keyring.sealingKey(queries);
    return {
      secret: sealingKey.seal(app.secret, secretPlace(toColumns(app))),
      updatedAt: this.#clock.now(),
      source: "managed",
      title: app.managed?.title ?? null,
      isDisabled: app.managed?.isDisabled ?? false,
      publicUrl: app.managed?.publicUrl ?? null,
      isLoginOnly: app.managed?.isLoginOnly ?? false,
      jsDomains: app.managed?.jsDomains?.join(",") ?? "",
      version: app.managed?.version ?? 1,
    };
  }

  /** The app of a row, whose secret is opened when it is first used: most callers use few of many apps. */
  #toApp(row: OpenableRow): App {
    const { appId: id, title, isDisabled, publicUrl, isLoginOnly, jsDomains, version } = row;
    const isManaged = row.source === "managed";
    let opened: { readonly secret: Secret | undefined } | undefined;
    // A damaged one must not take the others with it, nor the ways to repair it.
    const open = () => (opened ??= { secret: isManaged ? this.#openManaged(row) : row.openSecret() }).secret;
    const isDamaged = () => open() === undefined;
    const thirdParty = thirdPartyOf(row);
    const managed = isManaged && {
      ...thirdParty,
      managed: {
        title: title ?? undefined,
        isDisabled,
        publicUrl: publicUrl ?? undefined,
        isLoginOnly,
        jsDomains: jsDomains.split(",").filter(Boolean),
        version,
        get isDamaged() {
          return isDamaged();
        },
      },
    };
    const secret = () => open() ?? NO_SECRET;
    if (row.platform === "wecom") {
      return {
        platform: "wecom",
        id,
        agent: row.agent,
        get secret() {
          return secret();
        },
        ...managed,
      };
    }
    return {
      platform: "weixin",
      id,
      tokenMode: row.tokenMode === "classic" ? "classic" : "stable",
      get secret() {
        return secret();
      },
      ...managed,
    };
  }

  /** The secret of a managed app; undefined for one that does not open, which is reported once. */
  #openManaged(row: OpenableRow): Secret | undefined {
    const secret = tryOpen(row.openSecret);
    if (!secret) {
      if (this.#damaged.get(rowKey(row)) !== row.secret) this.#onDamaged(rowKey(row));
      this.#damaged.set(rowKey(row), row.secret);
    }
    return secret;
  }
}

/** Opens the secret of an app whose row is damaged. */
function failToOpen(): never {
  throw new ServiceError("store_unusable", "该应用的记录已损坏 (the app's row is damaged)");
}

/** In the place of a secret that does not open: no caller's secret is as short. */
const NO_SECRET = new Secret("");

/** What the store of apps works with. */
export interface AppStoreParts {
  readonly database: SqlDatabase;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly audit: AuditChain;
  readonly changes: OwnChanges;
  /** As of `OpenSql`. */
  readonly platformsFrom: number;
  /** Called with the name of an app whose secret does not open, once for each text. */
  readonly onDamaged?: ((row: string) => void) | undefined;
}
