import type { AppDirectory } from "../apps/app-directory.ts";
import type { App, Slot } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import type { EventBus } from "../events.ts";
import type { AuthorizedApps } from "./authorized-apps.ts";
import { isOfOneAccount, type ListedAccount, type PlatformProtocol } from "./platform-protocol.ts";

const DAY_MS = 86_400_000;
/** A comparison that failed is made again so much later. */
const AGAIN_MS = 3_600_000;
/** How long one may take. */
const LONGEST_MS = 600_000;

/** What a platform's accounts are compared with. */
export interface ReconciliationParts {
  readonly apps: Pick<AuthorizedApps, "add" | "describe">;
  readonly directory: Pick<AppDirectory, "find" | "authorizedTo">;
  /** Rereads the apps that any process has changed. */
  readonly refresh: () => Promise<void>;
  /** Undefined for a platform that has no authorizations. */
  readonly protocolOf: (platform: Slot) => PlatformProtocol | undefined;
  /** See `MilestoneStore.claim`. */
  readonly claim: (work: string, everyMs: number) => Promise<number>;
  readonly clock: Clock;
  readonly events: EventBus;
}

/** Compares what we have of a platform with what WeChat and WeCom say, once a day: events get lost. */
export class Reconciliation {
  readonly #parts: ReconciliationParts;
  /** By platform, when to look whether a comparison is due (monotonic). */
  readonly #dueAt = new Map<string, number>();
  /** By platform, the account that a comparison was at when it was cut off. */
  readonly #cutOffAt = new Map<string, string>();

  constructor(parts: ReconciliationParts) {
    this.#parts = parts;
  }

  /** Makes the day's comparison of a platform where it is due, by one of all processes. Throws what the claim throws. */
  async ifDue(platform: Slot, stopping: AbortSignal): Promise<void> {
    const { claim, clock } = this.#parts;
    const { appId } = platform;
    if (stopping.aborted) return;
    if (clock.monotonic() < (this.#dueAt.get(appId) ?? 0)) return;
    const work = `reconcile ${appId}`;
    const waitMs = await claim(work, DAY_MS);
    this.#dueAt.set(appId, clock.monotonic() + Math.min(waitMs || DAY_MS, AGAIN_MS));
    if (waitMs > 0) return;
    try {
      await this.reconcile(platform, AbortSignal.any([AbortSignal.timeout(LONGEST_MS), stopping]));
    } catch {
      // What went wrong is in the log, as a failed call; without a ticket nothing is asked at all.
      await claim(work, AGAIN_MS);
    }
  }

  /**
   * Takes over every account of WeChat's list that is not here, was thought lost or has authorized anew; resolves with the list, and with the
   * names of those. Undefined where the platform has no list.
   */
  async takeListed(
    platform: Slot,
    signal: AbortSignal,
  ): Promise<{ readonly listed: readonly ListedAccount[]; readonly added: readonly string[] } | undefined> {
    const { apps, protocolOf, refresh, directory } = this.#parts;
    const listed = await protocolOf(platform)?.list(platform, signal);
    if (!listed) return undefined;
    await refresh();
    const added: string[] = [];
    for (const { account, secret, authorizedAt } of listed) {
      const authorization = directory.find(`${account}_${platform.appId}`)?.authorization;
      // One without a refresh token has to authorize once more: its code was never exchanged.
      const isGood = authorization && authorization.lostAt === undefined;
      // One that was given anew: its end and its code were lost.
      if (!secret || (isGood && authorizedAt <= authorization.authorizedAt)) continue;
      const given = { account, secret, facts: {}, isLate: true, isListed: true };
      const name = await alone(() => apps.add(platform, given, authorizedAt, signal), signal);
      if (name !== undefined) added.push(name);
    }
    if (added.length > 0) await refresh();
    return { listed, added };
  }

  /**
   * Compares what we have of a platform with what WeChat says: takes over what is missing, and closes what it does not
   * list, or not take, any more. One that was cut off goes on behind the account that it was at.
   */
  async reconcile(
    platform: Slot,
    signal = AbortSignal.timeout(LONGEST_MS),
  ): Promise<{ added: number; lost: number }> {
    const { apps, directory, clock, events, refresh } = this.#parts;
    const { appId: platformApp } = platform;
    const askedAt = clock.now();
    const taken = await this.takeListed(platform, signal);
    const isListed = new Set(taken?.listed.map(({ account }) => account));
    const isGood = ({ authorization }: App) => authorization?.lostAt === undefined;
    const all = directory.authorizedTo(platformApp);
    const before = all.filter(isGood);
    // WeCom has no list by which one that was thought lost could be found.
    for (const app of this.#order(platformApp, taken ? before : all)) {
      const { authorizedAt = 0, userName } = app.authorization ?? {};
      const isKnown = taken && isListed.has(app.id) && userName !== undefined;
      if (isKnown || authorizedAt > askedAt) continue;
      this.#cutOffAt.set(platformApp, app.id);
      await alone(() => apps.describe(platform, app.id, signal), signal);
    }
    this.#cutOffAt.delete(platformApp);
    await refresh();
    const lost = before.filter(({ id }) => {
      const app = directory.find(`${id}_${platformApp}`);
      return app && !isGood(app);
    }).length;
    const found = { added: taken?.added.length ?? 0, lost };
    events.emit({ type: "authorizations.reconciled", platformApp, ...found });
    return found;
  }

  /** By their ids, those first that a comparison which was cut off did not come to. */
  #order(platformApp: string, apps: readonly App[]): App[] {
    const last = this.#cutOffAt.get(platformApp) ?? "";
    const sorted = apps.toSorted((one, other) => (one.id < other.id ? -1 : 1));
    return [...sorted.filter(({ id }) => id > last), ...sorted.filter(({ id }) => id <= last)];
  }
}

/** Does what one account is asked for; undefined where that fails for a reason that is no other's, while there is time. */
async function alone<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (signal.aborted || !isOfOneAccount(error)) throw error;
    return undefined;
  }
}
