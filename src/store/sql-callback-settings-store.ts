import { and, asc, eq, isNotNull, isNull, lt, or, sql } from "drizzle-orm";
import { outdated } from "../apps/app-administration.ts";
import type { AuditEntry } from "../audit/audit-entry.ts";
import { noSuchTarget, notSetUp } from "../callbacks/callback-administration.ts";
import {
  type AppCallbacks,
  type CallbackSettings,
  type CallbackSettingsStore,
  type Route,
  ROUTE_ROLES,
  type Rule,
  type Target,
  TARGET_CONTENTS,
} from "../callbacks/callback-settings.ts";
import type { Secret } from "../secret.ts";
import type { AuditChain } from "./audit-chain.ts";
import { checkRow, type DamageReports, readable } from "./damaged-rows.ts";
import { type OwnChanges, raiseEpoch } from "./epochs.ts";
import type { Keyring } from "./keyring.ts";
import { callbackRoutes, callbacks, callbackTargets, deliveries } from "./schema.ts";
import { haveEnvironment } from "./sql-environment-store.ts";
import { type SealingKey, tryOpen } from "./sealing-key.ts";
import type { Queries, SqlDatabase } from "./sql.ts";

/** What a store of callback settings works with. */
export interface CallbackSettingsStoreParts {
  readonly database: SqlDatabase;
  readonly keyring: Keyring;
  readonly audit: AuditChain;
  readonly changes: OwnChanges;
  readonly damage: DamageReports;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

const CHECK_PRECISION_MS = 5000;
const MODES = ["secure", "compat", "plain"] as const;
const FORMATS = ["xml", "json"] as const;
/** What the settings can be used without. */
const DISPENSABLE: ReadonlySet<string> = new Set([
  ...["previous_token", "previous_aes_key", "checked_at", "created_at", "updated_at"],
]);

/** Callback settings in a SQL database. */
export class SqlCallbackSettingsStore implements CallbackSettingsStore {
  readonly #parts: CallbackSettingsStoreParts;
  /** The secrets of the last reading, by place and sealed text: one change must not cost the opening of all others. */
  #opened = new Map<string, Secret>();
  #openedBefore: ReadonlyMap<string, Secret> = new Map();

  constructor(parts: CallbackSettingsStoreParts) {
    this.#parts = parts;
  }

  async load(): Promise<{ apps: AppCallbacks[]; damaged: string[] }> {
    const { database, keyring } = this.#parts;
    const loaded = await database.snapshot(async (queries) => {
      await keyring.refresh(queries);
      const routes = queries.select().from(callbackRoutes);
      return {
        settings: await queries.select().from(callbacks),
        targets: await queries.select().from(callbackTargets).orderBy(asc(callbackTargets.name)),
        routes: await routes.orderBy(asc(callbackRoutes.position)),
      };
    });
    this.#openedBefore = this.#opened;
    this.#opened = new Map();
    const targets = Map.groupBy(
      loaded.targets.map((row) => this.#toTarget(row)),
      ({ app }) => app,
    );
    const routes = Map.groupBy(
      loaded.routes.flatMap((row) => this.#toRoute(row) ?? []),
      ({ app }) => app,
    );
    const apps: AppCallbacks[] = [];
    const damaged: string[] = [];
    for (const row of loaded.settings) {
      const settings = this.#toSettings(row);
      if (typeof settings === "string") damaged.push(settings);
      else
        apps.push({
          settings,
          targets: targets.get(settings.app) ?? [],
          routes: (routes.get(settings.app) ?? []).map(({ route }) => route),
        });
    }
    return { apps, damaged };
  }

  async save(
    settings: Omit<CallbackSettings, "version">,
    version: number | undefined,
    entry: AuditEntry,
  ): Promise<void> {
    const { app, mode, format, receiveIds, checkedAt = null } = settings;
    await this.#change(entry, async (queries, epoch, now) => {
      const current = await this.#standing(queries, app, version);
      const seal = sealerOf(await this.#parts.keyring.sealingKey(queries), "callbacks", app);
      const columns = {
        token: seal("token", settings.token) ?? "",
        aesKey: seal("aes_key", settings.aesKey),
        previousToken: seal("previous_token", settings.previousToken),
        previousAesKey: seal("previous_aes_key", settings.previousAesKey),
        ...{ mode, format, receiveIds: receiveIds.join(","), checkedAt, updatedAt: now, version: epoch },
      };
      if (current) await queries.update(callbacks).set(columns).where(eq(callbacks.app, app));
      else await queries.insert(callbacks).values({ app, ...columns, createdAt: now });
    });
  }

  async remove(app: string, version: number | undefined, entry: AuditEntry): Promise<void> {
    await this.#change(entry, async (queries) => {
      if (!(await this.#standing(queries, app, version))) throw outdated();
      await queries.delete(callbacks).where(eq(callbacks.app, app));
      await queries.delete(callbackTargets).where(eq(callbackTargets.app, app));
      await queries.delete(callbackRoutes).where(eq(callbackRoutes.app, app));
    });
  }

  async saveTarget(
    target: Omit<Target, "version" | "pulledAt">,
    version: number | undefined,
    entry: AuditEntry,
  ): Promise<void> {
    const { app, name, environment, url = null, content, timeoutMs = null } = target;
    await this.#change(entry, async (queries, epoch, now) => {
      await this.#requireSettings(queries, app);
      const fuller = await haveEnvironment(queries, environment, now, entry);
      const current = await this.#standingTarget(queries, app, name, version);
      const seal = sealerOf(
        await this.#parts.keyring.sealingKey(queries),
        "callback_targets",
        `${app}:${name}`,
      );
      const columns = {
        token: seal("token", target.token),
        aesKey: seal("aes_key", target.aesKey),
        hmacKey: seal("hmac_key", target.hmacKey),
        ...{ environment, url, content, timeoutMs, updatedAt: now, version: epoch },
      };
      if (current) await queries.update(callbackTargets).set(columns).where(isTarget(app, name));
      else await queries.insert(callbackTargets).values({ app, name, ...columns, createdAt: now });
      if (url !== null) await makeDue(queries, target, now);
      return fuller;
    });
  }

  async removeTarget(
    app: string,
    name: string,
    version: number | undefined,
    entry: AuditEntry,
  ): Promise<void> {
    await this.#change(entry, async (queries) => {
      if (!(await this.#standingTarget(queries, app, name, version))) throw outdated();
      await queries.delete(callbackTargets).where(isTarget(app, name));
      await queries
        .delete(callbackRoutes)
        .where(and(eq(callbackRoutes.app, app), eq(callbackRoutes.target, name)));
    });
  }

  async saveRoutes(
    app: string,
    routes: readonly Route[],
    version: number | undefined,
    entry: AuditEntry,
  ): Promise<void> {
    await this.#change(entry, async (queries, epoch, now) => {
      if (!(await this.#standing(queries, app, version))) throw notSetUp(app);
      const named = await queries
        .select({ name: callbackTargets.name })
        .from(callbackTargets)
        .where(eq(callbackTargets.app, app));
      const known = new Set(named.map(({ name }) => name));
      const missing = routes.find(({ target }) => !known.has(target));
      if (missing) throw noSuchTarget(missing.target);
      await queries.delete(callbackRoutes).where(eq(callbackRoutes.app, app));
      for (const [position, { target, role, rule }] of routes.entries())
        await queries
          .insert(callbackRoutes)
          .values({ app, position, target, role, rule: JSON.stringify(rule) });
      await queries.update(callbacks).set({ version: epoch, updatedAt: now }).where(eq(callbacks.app, app));
    });
  }

  async noteCheck(app: string, at: number): Promise<void> {
    const isOlder = or(isNull(callbacks.checkedAt), lt(callbacks.checkedAt, at - CHECK_PRECISION_MS));
    await this.#parts.database.transact(async (queries) => {
      const noted = await queries
        .update(callbacks)
        .set({ checkedAt: at })
        .where(and(eq(callbacks.app, app), isOlder))
        .returning({ app: callbacks.app })
        .get();
      if (noted) await raiseEpoch(queries, "callbacks");
    });
    await this.#parts.changes.expire();
  }

  async lastPullsOf(app: string): Promise<Map<string, number>> {
    const { name, pulledAt } = callbackTargets;
    const isPulled = and(eq(callbackTargets.app, app), isNotNull(pulledAt));
    const rows = await this.#parts.database.read((queries) =>
      queries.select({ name, pulledAt }).from(callbackTargets).where(isPulled),
    );
    return new Map(
      rows.flatMap((row) => (Number.isSafeInteger(row.pulledAt) ? [[row.name, row.pulledAt ?? 0]] : [])),
    );
  }

  /** Raises the epoch, does a change, which is given it, and writes its entry, all or nothing. */
  async #change(
    entry: AuditEntry,
    work: (queries: Queries, epoch: number, now: number) => Promise<AuditEntry | void>,
  ): Promise<void> {
    const { database, audit, changes, now } = this.#parts;
    await database.transact(async (queries) => {
      const fuller = await work(queries, await raiseEpoch(queries, "callbacks"), now());
      await audit.append(queries, fuller ?? entry);
    });
    await changes.expire();
  }

  /** Whether the app has settings. Throws `precondition_failed` when they are of another version. */
  async #standing(queries: Queries, app: string, version: number | undefined): Promise<boolean> {
    const columns = { version: readable(callbacks.version) };
    const [row] = await queries.select(columns).from(callbacks).where(eq(callbacks.app, app));
    return isExpected(row?.version, version);
  }

  async #standingTarget(
    queries: Queries,
    app: string,
    name: string,
    version: number | undefined,
  ): Promise<boolean> {
    const columns = { version: readable(callbackTargets.version) };
    const [row] = await queries.select(columns).from(callbackTargets).where(isTarget(app, name));
    return isExpected(row?.version, version);
  }

  async #requireSettings(queries: Queries, app: string): Promise<void> {
    if (!(await this.#standing(queries, app, undefined))) throw notSetUp(app);
  }

  /** The settings of a row; of one that can't be used, the app's name. */
  #toSettings(stored: typeof callbacks.$inferSelect): CallbackSettings | string {
    const { row, damaged } = checkRow(callbacks, stored);
    const { app, receiveIds, checkedAt, version } = row;
    const unread = new Set(damaged);
    const open = this.#opener("callbacks", app, unread);
    const token = open("token", row.token);
    const aesKey = open("aes_key", row.aesKey);
    const previousToken = open("previous_token", row.previousToken);
    const previousAesKey = open("previous_aes_key", row.previousAesKey);
    const mode = MODES.find((each) => each === row.mode);
    const format = FORMATS.find((each) => each === row.format);
    if (!mode) unread.add("mode");
    if (!format) unread.add("format");
    this.#parts.damage.note(`callbacks:${app}`, [...unread]);
    const isWhole = [...unread].every((column) => DISPENSABLE.has(column));
    if (!isWhole || !token || !mode || !format) return app;
    return {
      ...{ app, token, aesKey, previousToken, previousAesKey, mode, format, version },
      receiveIds: receiveIds.split(","),
      checkedAt: checkedAt ?? undefined,
    };
  }

  #toTarget(stored: typeof callbackTargets.$inferSelect): Target {
    const { row, damaged } = checkRow(callbackTargets, stored);
    const { app, name, environment, url, timeoutMs, pulledAt, version } = row;
    const unread = new Set(damaged);
    const open = this.#opener("callback_targets", `${app}:${name}`, unread);
    const [token, aesKey, hmacKey] = [
      open("token", row.token),
      open("aes_key", row.aesKey),
      open("hmac_key", row.hmacKey),
    ];
    const content = TARGET_CONTENTS.find((each) => each === row.content);
    if (!content) unread.add("content");
    this.#parts.damage.note(`callback_targets:${app}:${name}`, [...unread]);
    return {
      ...{ app, name, environment, token, aesKey, hmacKey, version },
      url: url ?? undefined,
      // Without its keys it can be sent nothing, until it is set again.
      content: content ?? "reencrypted",
      timeoutMs: timeoutMs ?? undefined,
      pulledAt: pulledAt ?? undefined,
    };
  }

  #toRoute(
    stored: typeof callbackRoutes.$inferSelect,
  ): { readonly app: string; readonly route: Route } | undefined {
    const { row, damaged } = checkRow(callbackRoutes, stored);
    const { app, target, position } = row;
    const role = ROUTE_ROLES.find((each) => each === row.role);
    const rule = readRule(row.rule);
    const isWhole = damaged.length === 0 && role !== undefined && rule !== undefined;
    this.#parts.damage.note(`callback_routes:${app}:${position}`, isWhole ? [] : ["row"]);
    return isWhole ? { app, route: { target, role, rule } } : undefined;
  }

  /** What opens the secrets of a row: undefined for one that is not there or does not open, which is added to `unread`. */
  #opener(table: string, row: string, unread: Set<string>) {
    return (column: string, text: string | null): Secret | undefined => {
      if (text === null) return undefined;
      const key = `${table} ${row} ${column} ${text}`;
      const secret =
        this.#openedBefore.get(key) ?? tryOpen(this.#parts.keyring.opener(text, { table, row, column }));
      if (secret) this.#opened.set(key, secret);
      else unread.add(column);
      return secret;
    };
  }
}

/** Makes due what waits to be pulled of a target, which has a URL now: what a program has pulled when it has that no more. */
async function makeDue(
  queries: Queries,
  { app, name, environment }: Pick<Target, "app" | "name" | "environment">,
  now: number,
): Promise<void> {
  const { leaseExpiresAt, dueAt, expiresAt } = deliveries;
  const isPulled = and(
    eq(deliveries.app, app),
    eq(deliveries.target, name),
    eq(deliveries.state, "waiting"),
    eq(deliveries.environment, environment),
    eq(dueAt, expiresAt),
  );
  const set = { dueAt: sql`CASE WHEN ${leaseExpiresAt} > ${now} THEN ${leaseExpiresAt} ELSE ${now} END` };
  await queries.update(deliveries).set(set).where(isPulled);
}

function isTarget(app: string, name: string) {
  return and(eq(callbackTargets.app, app), eq(callbackTargets.name, name));
}

/** Whether there is a row. Throws `precondition_failed` where its version is not the expected one. */
function isExpected(current: number | undefined, expected: number | undefined): boolean {
  if (expected !== undefined && (current ?? 0) !== expected) throw outdated();
  return current !== undefined;
}

function sealerOf(key: SealingKey, table: string, row: string) {
  return (column: string, secret: Secret | undefined): string | null =>
    secret ? key.seal(secret, { table, row, column }) : null;
}

/** Reads a stored rule; undefined when it can't be read: as one for everything it would send too much. */
function readRule(text: string): Rule | undefined {
  try {
    const stored: unknown = JSON.parse(text);
    if (typeof stored !== "object" || stored === null) return undefined;
    const lists = Object.entries(stored);
    const isRead = lists.every(
      ([name, list]) =>
        RULE_LISTS.has(name) && Array.isArray(list) && list.every((each) => typeof each === "string"),
    );
    return isRead ? stored : undefined;
  } catch {
    return undefined;
  }
}

const RULE_LISTS: ReadonlySet<string> = new Set(["types", "events", "eventKeys", "openids"]);
