import { setImmediate as nextTurn } from "node:timers/promises";
import { type AppDirectory, firstBehind } from "../apps/app-directory.ts";
import { appName, nameOfApp, ownSlotOf, type SlotName } from "../apps/app.ts";
import type { CallCount, CallCountStore, Piece } from "../audit/call-counts.ts";
import type { Changes } from "../changes.ts";
import { beijingDay, type Clock } from "../clock.ts";
import { type Platform, ServiceError } from "../errors.ts";
import {
  type AppPage,
  type AppQuery,
  cursorIn,
  cursorOf,
  eachPlace,
  firstIs,
  matching,
  select,
  SORT_VALUES,
} from "./app-order.ts";
import { AppTable, type QuotaUse, shareOf } from "./app-table.ts";
import { type Backoff, concernedBy, isCredible } from "./backoff.ts";
import type { CredentialFactsStore } from "./credential-store.ts";
import { type CredentialKind, kindsOf, KINDS_OF } from "./kinds.ts";
import type { PacingStore } from "./pacing-store.ts";
import { APP_STATES, type AppState, FOREIGN_MS } from "./status.ts";

/** What the index reads. */
export interface AppIndexParts {
  readonly directory: Pick<AppDirectory, "sorted" | "namesOf" | "epoch">;
  readonly facts: Pick<CredentialFactsStore, "page" | "ofSlots">;
  readonly pacing: Pick<PacingStore, "page">;
  readonly calls: Pick<CallCountStore, "pageOfDay">;
  readonly changes: Pick<Changes, "epoch" | "subscribe">;
  readonly clock: Clock;
}

/** So much is read at once; in between others have their turn. */
const PIECE = 2000;
/** More changes are not looked up one by one. */
const MAX_CHANGED = 2000;
/** What is read in less time is read again whenever it may be out of date; what takes longer in the background. */
const QUICK_MS = 50;
/** Uses and calls, which nobody is told of, are read again after so many times what that takes. */
const PAUSES = 100;
/** How long after its backoff an app counts as one that could not reach its upstream. */
const UNREACHABLE_MS = 300_000;
const UNREACHABLE: ReadonlySet<string> = new Set(["upstream_unreachable", "upstream_timeout"]);
/** It is forgotten when nobody has asked for so long. */
const IDLE_MS = 300_000;

/**
 * Finds, sorts and counts apps by what their credentials are now, without a query for each.
 *
 * It reads the store when it is first asked, and from then on what the change feed names; when nobody asks any more, it
 * forgets everything. `isVisible` is asked last, of what is wanted alone. Last uses and today's calls may be half a minute old where there are very many apps.
 */
export class AppIndex {
  readonly #parts: AppIndexParts;
  #table: AppTable | undefined;
  #directoryEpoch = -1;
  #backoffsEpoch = -1;
  /** The slots whose credentials have changed since they were read, by `slotKey`; undefined when any may have. */
  #changed: Set<string> | undefined;
  #updating: Promise<void> | undefined;
  /** Until when each app waits whose upstream could not be reached. */
  #unreachable: ReadonlyMap<string, number> = new Map();
  #usesAt = 0;
  #usesTookMs = 0;
  #readingUses: Promise<void> | undefined;
  #unsubscribe: (() => void) | undefined;
  #idle: Timer | undefined;

  constructor(parts: AppIndexParts) {
    this.#parts = parts;
  }

  /** A page of apps. Throws `invalid_parameter` for an `after` that is of another order. */
  async page(query: AppQuery): Promise<AppPage> {
    const { isVisible, state, order, isDescending, after, limit } = query;
    if (order === "name" && !isDescending && state === undefined) return this.#pageByName(query);
    const isMatch = matching(query.q);
    const table = await this.#current();
    const now = this.#parts.clock.now();
    const wanted = state === undefined ? undefined : APP_STATES.indexOf(state);
    const valueOf = SORT_VALUES[order];
    const isFirst = firstIs(isDescending);
    const start = after === undefined ? undefined : cursorIn(after, order);
    const found = await select(table.apps.length, limit + 1, isFirst, (place) => {
      const app = table.apps[place];
      const name = table.name(place);
      if (wanted !== undefined && table.rank(place, now) !== wanted) return undefined;
      if (!app || !isMatch(name, app) || !isVisible(name)) return undefined;
      const one = { name, value: valueOf(table, place, now) };
      return start === undefined || isFirst(start, one) ? one : undefined;
    });
    const last = found[limit - 1];
    return {
      names: found.slice(0, limit).map(({ name }) => name),
      next: found.length > limit && last ? cursorOf(last, order) : undefined,
    };
  }

  /** As `page`, of what needs no credential: the apps are in that order already. */
  async #pageByName({ isVisible, q, after = "", limit }: AppQuery): Promise<AppPage> {
    const apps = this.#parts.directory.sorted();
    const isMatch = matching(q);
    const names: string[] = [];
    await eachPlace(firstBehind(apps, after), apps.length, (place) => {
      const app = apps[place];
      const name = app && nameOfApp(app);
      if (app && name !== undefined && isVisible(name) && isMatch(name, app)) names.push(name);
      return names.length <= limit;
    });
    return { names: names.slice(0, limit), next: names.length > limit ? names[limit - 1] : undefined };
  }

  /** How many of the apps that the caller may see are in each state. */
  async counts(isVisible: AppQuery["isVisible"]): Promise<Record<AppState, number>> {
    const table = await this.#current();
    const now = this.#parts.clock.now();
    const counts = APP_STATES.map(() => 0);
    await eachPlace(0, table.apps.length, (place) => {
      if (!isVisible(table.name(place))) return;
      const rank = table.rank(place, now);
      counts[rank] = (counts[rank] ?? 0) + 1;
    });
    return Object.fromEntries(APP_STATES.map((state, n) => [state, counts[n]])) as Record<AppState, number>;
  }

  /** How many credentials of each kind are in each state, of the apps of each platform. */
  async credentialCounts(): Promise<
    readonly {
      readonly platform: Platform;
      readonly kind: CredentialKind;
      readonly state: AppState;
      readonly count: number;
    }[]
  > {
    const table = await this.#current();
    const now = this.#parts.clock.now();
    const counts = {
      weixin: new Map<CredentialKind, number[]>(),
      wecom: new Map<CredentialKind, number[]>(),
    };
    for (const [platform, kinds] of Object.entries(KINDS_OF))
      for (const kind of kinds)
        counts[platform as Platform].set(
          kind,
          APP_STATES.map(() => 0),
        );
    await eachPlace(0, table.apps.length, (place) => {
      const app = table.apps[place];
      for (const kind of app ? kindsOf(ownSlotOf(app)) : []) {
        const ofStates = counts[app?.platform ?? "weixin"].get(kind) ?? [];
        const rank = table.rankOf(place, kind, now);
        ofStates[rank] = (ofStates[rank] ?? 0) + 1;
      }
    });
    return Object.entries(counts).flatMap(([platform, ofKinds]) =>
      [...ofKinds].flatMap(([kind, ofStates]) =>
        APP_STATES.map((state, n) => ({
          platform: platform as Platform,
          kind,
          state,
          count: ofStates[n] ?? 0,
        })),
      ),
    );
  }

  /** The valid credentials of which the least life is left. */
  async shortestLives(
    isVisible: AppQuery["isVisible"],
    limit: number,
  ): Promise<{ readonly name: string; readonly kind: CredentialKind }[]> {
    const table = await this.#current();
    const now = this.#parts.clock.now();
    const disabled = APP_STATES.indexOf("disabled");
    return select(table.cells, limit, firstIs(false), (cell) => {
      const value = table.expiryAt(cell, now);
      const of = value > 0 ? table.credential(cell) : undefined;
      if (!of || table.rank(of.place, now) === disabled) return undefined;
      const name = table.name(of.place);
      return isVisible(name) ? { name, value, kind: of.kind } : undefined;
    });
  }

  /** The apps of whose daily calls most are used, and at least that share of them. */
  async fullestQuotas(
    isVisible: AppQuery["isVisible"],
    limit: number,
    leastShare = 0,
  ): Promise<(QuotaUse & { readonly name: string })[]> {
    const table = await this.#current();
    const found = await selectApps(table, limit, firstIs(true), isVisible, (place) => {
      const { quota } = table.calls(place);
      const value = shareOf(quota);
      return quota && value >= leastShare ? { value, quota } : undefined;
    });
    return found.map(({ name, quota }) => ({ name, ...quota }));
  }

  /** The apps of which another program fetches tokens, the one that was noticed last first. */
  async foreignRefreshes(
    isVisible: AppQuery["isVisible"],
    limit: number,
  ): Promise<{ readonly name: string; readonly at: number }[]> {
    const table = await this.#current();
    const since = this.#parts.clock.now() - FOREIGN_MS;
    const found = await selectApps(table, limit, firstIs(true), isVisible, (place) => {
      const value = table.revokedAt(place);
      return value > since ? { value } : undefined;
    });
    return found.map(({ name, value }) => ({ name, at: value }));
  }

  /** The apps whose access token ends within `leftMs`, or has ended, and can't be renewed just now; the first to end first. */
  async endingTokens(
    leftMs: number,
    isVisible: AppQuery["isVisible"],
    limit: number,
  ): Promise<{ readonly name: string; readonly endsAt: number }[]> {
    const table = await this.#current();
    const now = this.#parts.clock.now();
    const found = await selectApps(table, limit, firstIs(false), isVisible, (place) => {
      const value = table.endIfTroubled(place, now);
      return value > 0 && value - now < leftMs ? { value } : undefined;
    });
    return found.map(({ name, value }) => ({ name, endsAt: value }));
  }

  /** The states of the apps with these names; undefined for one that there is not. */
  async statesOf(names: readonly string[]): Promise<(AppState | undefined)[]> {
    const table = await this.#current();
    const now = this.#parts.clock.now();
    return names.map((name) => APP_STATES[table.rankNamed(name, now) ?? -1]);
  }

  /** How many apps could not reach their upstream when that was tried last, within the last five minutes. */
  async countUnreachable(): Promise<number> {
    await this.#current();
    const since = this.#parts.clock.now() - UNREACHABLE_MS;
    let count = 0;
    for (const until of this.#unreachable.values()) if (until > since) count += 1;
    return count;
  }

  /** Forgets everything. It may be asked again. */
  stop(): void {
    clearTimeout(this.#idle);
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#table = undefined;
  }

  async #current(): Promise<AppTable> {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.stop(), IDLE_MS);
    this.#idle.unref();
    // What is under way may have missed what was changed before this call.
    await this.#updating?.catch(() => undefined);
    this.#updating ??= this.#update().finally(() => (this.#updating = undefined));
    await this.#updating;
    // Of several questions in a row each is a turn of its own: to look at very many apps takes some milliseconds.
    await nextTurn();
    if (!this.#table) throw new ServiceError("unavailable", "服务正在停止 (the service is stopping)");
    return this.#table;
  }

  async #update(): Promise<void> {
    const { directory, changes, clock } = this.#parts;
    this.#unsubscribe ??= changes.subscribe("credentials", (changed) => this.#note(changed));
    changes.epoch("credentials");
    try {
      if (!this.#table || !this.#changed || this.#directoryEpoch !== directory.epoch) await this.#readAll();
      if (this.#table) await this.#readChanged(this.#table);
      if (this.#table) await this.#readBackoffs(this.#table);
    } catch (error) {
      // What was to be read is forgotten already: the next one reads everything.
      this.#changed = undefined;
      throw error;
    }
    const table = this.#table;
    if (!table) return;
    if (clock.monotonic() - this.#usesAt < PAUSES * this.#usesTookMs) return;
    this.#readingUses ??= this.#readUses(table).finally(() => (this.#readingUses = undefined));
    if (this.#usesTookMs <= QUICK_MS) await this.#readingUses;
    else this.#readingUses.catch(() => undefined);
  }

  #note(changed: ReadonlyMap<string, number> | undefined): void {
    if (!changed) this.#changed = undefined;
    for (const key of changed?.keys() ?? []) this.#changed?.add(key.slice(0, key.lastIndexOf(":")));
    if ((this.#changed?.size ?? 0) > MAX_CHANGED) this.#changed = undefined;
  }

  async #readAll(): Promise<void> {
    const { directory, facts, clock } = this.#parts;
    this.#changed = new Set();
    this.#directoryEpoch = directory.epoch;
    this.#backoffsEpoch = -1;
    const table = new AppTable(directory.sorted());
    const now = clock.now();
    const startedAt = clock.monotonic();
    await inPieces(facts.page.bind(facts), (each) => table.take(each.slot, each, now));
    await this.#readCalls(table);
    this.#usesAt = clock.monotonic();
    this.#usesTookMs = this.#usesAt - startedAt;
    this.#table = table;
  }

  async #readChanged(table: AppTable): Promise<void> {
    const { facts, clock } = this.#parts;
    const slots = [...(this.#changed ?? [])].map(slotNamed);
    this.#changed?.clear();
    for (let start = 0; start < slots.length; start += PIECE / 10) {
      const piece = slots.slice(start, start + PIECE / 10);
      const found = await facts.ofSlots(piece);
      const now = clock.now();
      for (const [n, slot] of piece.entries()) table.takeAll(slot, found[n] ?? [], now);
    }
  }

  async #readBackoffs(table: AppTable): Promise<void> {
    const { pacing, changes, directory, clock } = this.#parts;
    const epoch = changes.epoch("backoffs");
    if (epoch === this.#backoffsEpoch) return;
    this.#backoffsEpoch = epoch;
    const byName = new Map<string, Backoff[]>();
    const unreachable = new Map<string, number>();
    await inPieces(pacing.page.bind(pacing), (backoff) => {
      const of = concernedBy(backoff.key);
      if (!of || !isCredible(backoff, clock.now())) return;
      const isUnreachable = UNREACHABLE.has(backoff.failure.code);
      for (const name of namesOf(directory, of)) {
        byName.set(name, [...(byName.get(name) ?? []), backoff]);
        if (isUnreachable) unreachable.set(name, backoff.until);
      }
    });
    this.#unreachable = unreachable;
    await table.replaceBackoffs(byName, clock.now());
  }

  async #readUses(table: AppTable): Promise<void> {
    const { facts, clock } = this.#parts;
    const startedAt = clock.monotonic();
    await inPieces(facts.page.bind(facts), (each) => void table.takeUse(each.slot, each));
    await this.#readCalls(table);
    this.#usesAt = clock.monotonic();
    this.#usesTookMs = this.#usesAt - startedAt;
  }

  async #readCalls(table: AppTable): Promise<void> {
    const { calls, clock, directory } = this.#parts;
    const day = beijingDay(clock.now());
    const all: CallCount[] = [];
    const read = (after: string | undefined, limit: number) => calls.pageOfDay(day, after, limit);
    await inPieces(read, (each) => all.push(each));
    table.replaceCalls(all.map((each) => ({ ...each, names: namesOf(directory, each) })));
  }
}

/** As `select`, among the apps that the caller may see. */
function selectApps<T extends { readonly value: number }>(
  table: AppTable,
  limit: number,
  isFirst: ReturnType<typeof firstIs>,
  isVisible: AppQuery["isVisible"],
  find: (place: number) => T | undefined,
) {
  return select(table.apps.length, limit, isFirst, (place) => {
    const one = find(place);
    const name = table.name(place);
    return one && isVisible(name) ? { name, ...one } : undefined;
  });
}

/** The names of the apps that something of a slot, or of a whole corp without one, concerns. */
function namesOf(
  directory: Pick<AppDirectory, "namesOf">,
  of: { readonly platform: Platform; readonly appId: string; readonly name?: string },
): readonly string[] {
  return of.name === undefined
    ? directory.namesOf(of.platform, of.appId)
    : [appName({ ...of, name: of.name })];
}

/** The slot of that `slotKey`. */
function slotNamed(key: string): SlotName {
  const [platform, appId = "", name = ""] = key.split(":");
  return { platform: platform === "wecom" ? "wecom" : "weixin", appId, name };
}

/** Takes everything that `read` gives, in pieces, between which others have their turn. */
async function inPieces<Item>(
  read: (after: string | undefined, limit: number) => Promise<Piece<Item>>,
  take: (item: Item) => void,
): Promise<void> {
  let after: string | undefined;
  do {
    const { items, next } = await read(after, PIECE);
    for (const item of items) take(item);
    after = next;
    await nextTurn();
  } while (after !== undefined);
}
