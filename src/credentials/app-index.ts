import { firstBehind } from "../apps/app-directory.ts";
import { nameOfApp, ownSlotOf } from "../apps/app.ts";
import type { Platform } from "../errors.ts";
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
import { type AppTable, type QuotaUse, shareOf } from "./app-table.ts";
import { type CredentialKind, kindsOf, KINDS_OF } from "./kinds.ts";
import { LiveAppTable, type LiveAppTableParts } from "./live-app-table.ts";
import { APP_STATES, type AppState, FOREIGN_MS } from "./status.ts";

/** How long after its backoff an app counts as one that could not reach its upstream. */
const UNREACHABLE_MS = 300_000;

/** Finds, sorts and counts apps by what their credentials are now, without a query for each. */
export class AppIndex {
  readonly #parts: LiveAppTableParts;
  readonly #live: LiveAppTable;

  constructor(parts: LiveAppTableParts) {
    this.#parts = parts;
    this.#live = new LiveAppTable(parts);
  }

  /** A page of apps. Throws `invalid_parameter` for an `after` that is of another order. */
  async page(query: AppQuery): Promise<AppPage> {
    const { isVisible, state, order, isDescending, after, limit } = query;
    if (order === "name" && !isDescending && state === undefined) return this.#pageByName(query);
    const isMatch = matching(query.q);
    const table = await this.#live.current();
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
    const table = await this.#live.current();
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
    const table = await this.#live.current();
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
    const table = await this.#live.current();
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
    const table = await this.#live.current();
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
    const table = await this.#live.current();
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
    const table = await this.#live.current();
    const now = this.#parts.clock.now();
    const found = await selectApps(table, limit, firstIs(false), isVisible, (place) => {
      const value = table.endIfTroubled(place, now);
      return value > 0 && value - now < leftMs ? { value } : undefined;
    });
    return found.map(({ name, value }) => ({ name, endsAt: value }));
  }

  /** The states of the apps with these names; undefined for one that there is not. */
  async statesOf(names: readonly string[]): Promise<(AppState | undefined)[]> {
    const table = await this.#live.current();
    const now = this.#parts.clock.now();
    return names.map((name) => APP_STATES[table.rankNamed(name, now) ?? -1]);
  }

  /** How many apps could not reach their upstream when that was tried last, within the last five minutes. */
  async countUnreachable(): Promise<number> {
    await this.#live.current();
    const since = this.#parts.clock.now() - UNREACHABLE_MS;
    let count = 0;
    for (const until of this.#live.unreachable.values()) if (until > since) count += 1;
    return count;
  }

  /** Forgets everything. It may be asked again. */
  stop(): void {
    this.#live.stop();
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
