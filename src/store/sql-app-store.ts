import { setImmediate as nextTurn } from "node:timers/promises";
import { and, eq, getTableColumns, inArray, sql } from "drizzle-orm";
import { outdated } from "../apps/app-administration.ts";
import {
  type App,
  appName,
  type AppStore,
  type Authorization,
  nameOfApp,
  PLATFORM_ROLES,
  type SlotName,
  slotNameOf,
} from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import { type AuditAction, type AuditEntry, SERVICE } from "../audit/audit-entry.ts";
import { backoffKeysOfApp } from "../credentials/backoff.ts";
import { ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";
import type { Keyring } from "./keyring.ts";
import { type SealedPlace, tryOpen } from "./sealing-key.ts";
import type { Queries, SqlDatabase } from "./sql.ts";
import type { AuditChain } from "./audit-chain.ts";
import { cutOffTokens } from "./rejected-tokens.ts";
import { checkRow, readable } from "./damaged-rows.ts";
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
  revisions,
} from "./schema.ts";

type Row = typeof apps.$inferSelect;
type OpenableRow = Row & { readonly openSecret: () => Secret };
type Source = "environment" | "managed";

const ENVIRONMENT: Source = "environment";
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
  #listOf<T>(source: Source | undefined, take: (row: OpenableRow) => T): Promise<T[]> {
    const { platform, appId, agent } = apps;
    const isOf = source && eq(apps.source, source);
    return this.#database.snapshot(async (queries) => {
      await this.#keyring.refresh(queries);
      const all: T[] = [];
      for (let last: Row | undefined; ; await nextTurn()) {
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

  #openable(stored: Row): OpenableRow {
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

function isNamed({ platform, appId, agent }: RowName) {
  return and(eq(apps.platform, platform), eq(apps.appId, appId), eq(apps.agent, agent));
}

function isVersion(name: RowName, version: number) {
  return and(isNamed(name), eq(apps.source, "managed"), eq(readable(apps.version), version));
}

/** The credentials of an app's own slots: those of an AppID that we hold are named after the token modes. */
function isIssuedTo({ platform, appId, agent }: RowName) {
  const slots = platform === "wecom" || agent !== "" ? [agent] : ["stable", "classic"];
  return and(
    eq(credentials.platform, platform),
    eq(credentials.appId, appId),
    inArray(credentials.slot, slots),
  );
}

/** What a start does about one app of the environment. */
interface EnvironmentChange {
  readonly name: RowName;
  /** What is written of it; undefined for nothing. */
  readonly columns?: Columns;
  /** Whether what was issued to it is cleared. */
  readonly isReset: boolean;
  readonly action?: AuditAction | undefined;
}

/** What makes the rows of the environment equal to `wanted`; with `isFirst`, what comes new is not told to the audit. */
function changesBetween(
  stored: readonly OpenableRow[],
  wanted: readonly Columns[],
  isFirst: boolean,
): EnvironmentChange[] {
  const byKey = new Map(stored.map((row) => [rowKey(row), row]));
  const wantedKeys = new Set(wanted.map(rowKey));
  const gone = stored.filter((row) => !wantedKeys.has(rowKey(row)));
  // A row that does not open under its name is a damaged one, and then nothing may be written.
  for (const row of gone) row.openSecret();
  const changed = wanted.flatMap((columns): EnvironmentChange[] => {
    const row = byKey.get(rowKey(columns));
    const hasSecret = row?.openSecret().equals(columns.secret) ?? false;
    if (hasSecret && row?.tokenMode === columns.tokenMode) return [];
    // With which secret the credentials of both were obtained is not written down.
    if (hasSecret) return [{ name: columns, columns, isReset: false }];
    const creation = isFirst ? undefined : "app.created";
    return [{ name: columns, columns, isReset: true, action: row ? "app.secret_changed" : creation }];
  });
  return [...gone.map((name) => ({ name, isReset: true, action: "app.deleted" as const })), ...changed];
}

/** What no change of apps leaves as it is: the epoch of the managed ones, and what was written last of the environment's. */
async function stampOf(queries: Queries) {
  const { digest } = fingerprints;
  const [last] = await queries
    .select({ digest })
    .from(fingerprints)
    .where(eq(fingerprints.name, ENVIRONMENT));
  const { number } = revisions;
  const [epoch] = await queries.select({ number }).from(revisions).where(eq(revisions.name, "apps"));
  // A damaged cell may be of any type.
  return { digest: String(last?.digest), epoch: String(epoch?.number) };
}

/** What a start has found changed in the environment. */
function environmentEntry(action: AuditAction, name: RowName): AuditEntry {
  const [app, detail] = [appName(slotOf(name)), { source: ENVIRONMENT }];
  return { ...SERVICE, action, app, outcome: "ok", tokenDigest: "", detail };
}

function slotOf({ platform, appId, agent }: RowName): SlotName {
  return { platform: platform === "wecom" ? "wecom" : "weixin", appId, name: agent };
}

/** The row of an app's own slot. */
function rowNameOf({ platform, appId, name }: SlotName): RowName {
  return { platform, appId, agent: name === "stable" || name === "classic" ? "" : name };
}

/** What the environment says of its apps: their names and modes a line each, in the order of the key; and the secrets with them. */
function fingerprintOf(wanted: readonly App[]): { readonly names: string; readonly text: Secret } {
  const lines = wanted
    .map((app) => {
      const { platform, appId, agent, tokenMode, secret } = toColumns(app);
      // A blank comes before every character of a name, so that lines are in the order of their first words.
      return { name: `${platform} ${appId} ${agent} ${tokenMode}`, secret };
    })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return {
    names: lines.map(({ name }) => name).join("\n"),
    text: new Secret(lines.map(({ name, secret }) => `${name} ${secret.reveal()}`).join("\n")),
  };
}

type Columns = ReturnType<typeof toColumns>;

function toColumns(app: App) {
  const { platform, id: appId, secret, role, provider, addedAt, authorization } = app;
  const isThirdParty = role !== undefined || authorization !== undefined;
  const agent = app.platform === "wecom" || isThirdParty ? slotNameOf(app) : "";
  const tokenMode = app.platform === "wecom" ? "" : app.tokenMode;
  const thirdParty = isThirdParty ? JSON.stringify({ provider, addedAt, ...authorization }) : "";
  return { platform, appId, agent, tokenMode, secret, thirdParty };
}

/** What only third-party platforms, and what they have, need. What can't be read counts as not there. */
function thirdPartyOf({ platform, agent, thirdParty }: Pick<Row, "platform" | "agent" | "thirdParty">) {
  if (thirdParty === "") return {};
  const facts = readFacts(thirdParty);
  const role = PLATFORM_ROLES.find((each) => agent === `@${each}`);
  if (role) {
    const { provider, addedAt } = facts;
    return {
      ...{ role, provider: typeof provider === "string" ? provider : undefined },
      addedAt: typeof addedAt === "number" ? addedAt : undefined,
    };
  }
  if (platform === "weixin" && agent === "") return {};
  const { authorizedAt, since, scopes, userName, isMiniProgram, agentId, lostAt } = facts;
  const authorization: Authorization = {
    platformApp: agent,
    authorizedAt: typeof authorizedAt === "number" ? authorizedAt : 0,
    since: typeof since === "number" ? since : undefined,
    scopes: Array.isArray(scopes) ? scopes.filter((scope) => typeof scope === "number") : [],
    userName: typeof userName === "string" ? userName : undefined,
    isMiniProgram: typeof isMiniProgram === "boolean" ? isMiniProgram : undefined,
    agentId: typeof agentId === "string" ? agentId : undefined,
    lostAt: typeof lostAt === "number" ? lostAt : undefined,
  };
  return { authorization };
}

function readFacts(text: string): Partial<Record<keyof Authorization | "provider" | "addedAt", unknown>> {
  try {
    const facts: unknown = JSON.parse(text);
    return typeof facts === "object" && facts !== null ? facts : {};
  } catch {
    return {};
  }
}

type RowName = Pick<Row, "platform" | "appId" | "agent">;

function rowKey({ platform, appId, agent }: RowName): string {
  return `${platform}:${appId}:${agent}`;
}

/** Where an app's secret is sealed. */
export function secretPlace(row: RowName): SealedPlace {
  return { table: "apps", row: rowKey(row), column: "secret" };
}
