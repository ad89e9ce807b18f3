import { setImmediate as nextTurn } from "node:timers/promises";
import { firstBehind } from "../apps/app-directory.ts";
import { type App, appName, nameOfApp, ownSlotOf, type SlotName } from "../apps/app.ts";
import type { Backoff } from "./backoff.ts";
import { MIN_TTL_MS } from "./credential-cache.ts";
import type { CredentialFacts } from "./credential-store.ts";
import { type CredentialKind, DAILY_LIMITS, kindsOf, MAX_KINDS, tokenKindOf } from "./kinds.ts";
import { APP_STATES, closedState, leftWhenExpiringMs, troubleOf } from "./status.ts";

const WIDTH = MAX_KINDS;
const BLOCKED = APP_STATES.indexOf("blocked");
const FAILING = APP_STATES.indexOf("failing");
const EXPIRING = APP_STATES.indexOf("expiring");
const FRESH = APP_STATES.indexOf("fresh");
const NONE = APP_STATES.indexOf("none");
/** So many apps are looked at before others have their turn. */
const PIECE = 2000;

/** What a list of apps needs to know of one credential. */
type ListedFacts = Pick<CredentialFacts, "kind" | "life" | "usedAt" | "revokedEarly">;

/** Today's calls of an endpoint, and how many it may have. */
export interface QuotaUse {
  readonly endpoint: string;
  readonly calls: number;
  readonly limit: number;
}

/** Today's calls of an app: all of them, and those of the endpoint of which most are used, where that has a limit. */
export interface CallsToday {
  readonly calls: number;
  readonly quota?: QuotaUse | undefined;
}

/**
 * What lists of apps are filtered and sorted by, of every app in the order of names: instants, from which the state at any
 * moment follows. They are in arrays, so that 100,000 apps take 20 MB.
 */
export class AppTable {
  readonly apps: readonly App[];
  /** Where something was found last: what comes next is mostly there, or next to it. */
  #place = 0;
  /** Of each credential: until when it is fresh, and valid. 0 for never, as below. */
  readonly #freshUntil: Float64Array;
  readonly #validUntil: Float64Array;
  /** Of each credential: until when it is blocked, and failing after that. */
  #blockedUntil: Float64Array;
  #failingUntil: Float64Array;
  /** Of each app: its last use, and when a value of it was revoked early last. */
  readonly #usedAt: Float64Array;
  readonly #revokedAt: Float64Array;
  #calls: ReadonlyMap<number, CallsToday> = new Map();

  /** `apps` are in the order of their names. */
  constructor(apps: readonly App[]) {
    const size = apps.length;
    this.apps = apps;
    this.#freshUntil = new Float64Array(size * WIDTH);
    this.#validUntil = new Float64Array(size * WIDTH);
    this.#blockedUntil = new Float64Array(size * WIDTH);
    this.#failingUntil = new Float64Array(size * WIDTH);
    this.#usedAt = new Float64Array(size);
    this.#revokedAt = new Float64Array(size);
  }

  /** How many credentials it has place for; each has a number. */
  get cells(): number {
    return this.#validUntil.length;
  }

  /** The public name of an app. */
  name(place: number): string {
    const app = this.apps[place];
    return app ? nameOfApp(app) : "";
  }

  /** Takes what the store knows now of a slot's credentials; of one that is no app's own nothing. */
  takeAll(slot: SlotName, facts: readonly ListedFacts[], now: number): void {
    const place = this.#placeOf(slot);
    if (place === undefined) return;
    this.#freshUntil.fill(0, place * WIDTH, (place + 1) * WIDTH);
    this.#validUntil.fill(0, place * WIDTH, (place + 1) * WIDTH);
    for (const each of facts) this.take(slot, each, now);
  }

  /** As `takeAll`, of one credential. */
  take(slot: SlotName, facts: ListedFacts, now: number): void {
    const place = this.takeUse(slot, facts);
    const { kind, life } = facts;
    // One from the future was issued under a clock that was set back since.
    const at = place === undefined ? undefined : this.#cellOf(place, kind);
    if (at === undefined || !life || life.issuedAt > now) return;
    this.#validUntil[at] = life.expiresAt;
    this.#freshUntil[at] = life.expiresAt - leftWhenExpiringMs(slot, kind, life);
  }

  /** Takes when a credential was used and revoked early last, and nothing else; gives the place of its app. */
  takeUse(slot: SlotName, { usedAt = 0, revokedEarly }: ListedFacts): number | undefined {
    const place = this.#placeOf(slot);
    if (place === undefined) return undefined;
    this.#usedAt[place] = Math.max(this.#usedAt[place] ?? 0, usedAt);
    this.#revokedAt[place] = Math.max(this.#revokedAt[place] ?? 0, revokedEarly?.at ?? 0);
    return place;
  }

  /** Puts today's calls in the place of those before. Those of a WeCom corp are those of each of its applications. */
  replaceCalls(
    calls: Iterable<{ readonly names: readonly string[]; readonly endpoint: string; readonly calls: number }>,
  ): void {
    const all = new Map<number, CallsToday>();
    for (const { names, endpoint, calls: more } of calls) {
      const limit = DAILY_LIMITS.get(endpoint);
      const own = limit === undefined ? undefined : { endpoint, calls: more, limit };
      for (const place of names.flatMap((name) => this.#find(name) ?? [])) {
        // What needs an AppSecret was called for the app that is held with it, under the same AppID.
        if (own && this.apps[place]?.authorization) continue;
        const before = all.get(place);
        const quota = own && shareOf(own) > shareOf(before?.quota) ? own : before?.quota;
        all.set(place, { calls: (before?.calls ?? 0) + more, quota });
      }
    }
    this.#calls = all;
  }

  /** Puts backoffs in the place of those before: of each app those that are of its slots or its corp. */
  async replaceBackoffs(byName: ReadonlyMap<string, readonly Backoff[]>, now: number): Promise<void> {
    const blockedUntil = new Float64Array(this.#blockedUntil.length);
    const failingUntil = new Float64Array(this.#failingUntil.length);
    let seen = 0;
    for (const [name, backoffs] of byName) {
      const place = this.#find(name);
      const app = place === undefined ? undefined : this.apps[place];
      if (place === undefined || !app) continue;
      const slot = ownSlotOf(app);
      for (const [column, kind] of kindsOf(slot).entries()) {
        const trouble = troubleOf(slot, kind, backoffs, now);
        const at = place * WIDTH + column;
        blockedUntil[at] = trouble.blockedUntil;
        failingUntil[at] = trouble.failingUntil;
      }
      if (++seen % PIECE === 0) await nextTurn();
    }
    this.#blockedUntil = blockedUntil;
    this.#failingUntil = failingUntil;
  }

  /** The place of an app's state in `APP_STATES`. */
  rank(place: number, now: number): number {
    const app = this.apps[place];
    const closed = app && closedState(app);
    if (closed) return APP_STATES.indexOf(closed);
    let worst = NONE;
    if (app?.managed?.isLoginOnly) return worst;
    for (let at = place * WIDTH; at < (place + 1) * WIDTH; at++)
      worst = Math.min(worst, this.#rankOf(at, now));
    return worst;
  }

  /** The place of one credential's state in `APP_STATES`. */
  rankOf(place: number, kind: CredentialKind, now: number): number {
    const app = this.apps[place];
    const closed = app && closedState(app);
    if (closed) return APP_STATES.indexOf(closed);
    const at = this.#cellOf(place, kind);
    return app?.managed?.isLoginOnly || at === undefined ? NONE : this.#rankOf(at, now);
  }

  /** Of which app the credential of that number is, and which kind; undefined for a kind that the app has none of. */
  credential(cell: number): { readonly place: number; readonly kind: CredentialKind } | undefined {
    const place = Math.floor(cell / WIDTH);
    const app = this.apps[place];
    const kind = app && kindsOf(ownSlotOf(app))[cell % WIDTH];
    return kind && { place, kind };
  }

  /** When the credential of that number expires; 0 where it is not valid. */
  expiryAt(cell: number, now: number): number {
    return this.#validTo(cell, now);
  }

  /** When an app's credential of that kind expires; 0 where none is valid. */
  expiryOf(place: number, kind: CredentialKind, now: number): number {
    const at = this.#cellOf(place, kind);
    return at === undefined ? 0 : this.#validTo(at, now);
  }

  /** Until when the access token of an app lasts, or when it ended, that can't be renewed just now; 0 for any other app. */
  endIfTroubled(place: number, now: number): number {
    const app = this.apps[place];
    const kind = app && tokenKindOf(ownSlotOf(app));
    const at = kind && this.#cellOf(place, kind);
    if (at === undefined || kind === undefined) return 0;
    return this.rankOf(place, kind, now) <= FAILING ? (this.#validUntil[at] ?? 0) : 0;
  }

  /** The place of the app of that name in `APP_STATES`; undefined for none. */
  rankNamed(name: string, now: number): number | undefined {
    const place = this.#find(name);
    return place === undefined ? undefined : this.rank(place, now);
  }

  usedAt(place: number): number {
    return this.#usedAt[place] ?? 0;
  }

  revokedAt(place: number): number {
    return this.#revokedAt[place] ?? 0;
  }

  calls(place: number): CallsToday {
    return this.#calls.get(place) ?? { calls: 0 };
  }

  #rankOf(at: number, now: number): number {
    if ((this.#blockedUntil[at] ?? 0) > now) return BLOCKED;
    if ((this.#failingUntil[at] ?? 0) > now) return FAILING;
    if (this.#validTo(at, now) === 0) return NONE;
    return (this.#freshUntil[at] ?? 0) > now ? FRESH : EXPIRING;
  }

  #validTo(at: number, now: number): number {
    const validUntil = this.#validUntil[at] ?? 0;
    return validUntil - MIN_TTL_MS < now ? 0 : validUntil;
  }

  #placeOf(slot: SlotName): number | undefined {
    const place = this.#find(appName(slot));
    const app = place === undefined ? undefined : this.apps[place];
    if (app?.platform !== slot.platform) return undefined;
    return ownSlotOf(app).name === slot.name ? place : undefined;
  }

  /** Where what is known of a credential stands; undefined for a kind that the app has none of. */
  #cellOf(place: number, kind: CredentialKind): number | undefined {
    const app = this.apps[place];
    const column = app ? kindsOf(ownSlotOf(app)).indexOf(kind) : -1;
    return column < 0 ? undefined : place * WIDTH + column;
  }

  /** Without a map of the names, which would take more memory than all of the rest. */
  #find(name: string): number | undefined {
    for (const place of [this.#place, this.#place + 1])
      if (this.#isAt(place, name)) return (this.#place = place);
    const place = firstBehind(this.apps, name) - 1;
    return this.#isAt(place, name) ? (this.#place = place) : undefined;
  }

  #isAt(place: number, name: string): boolean {
    return place < this.apps.length && this.name(place) === name;
  }
}

/** Which part of its calls a quota has had; less than none where there is no quota. */
export function shareOf(quota: QuotaUse | undefined): number {
  return quota ? quota.calls / quota.limit : -1;
}
