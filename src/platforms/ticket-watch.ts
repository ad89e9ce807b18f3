import type { AppDirectory } from "../apps/app-directory.ts";
import type { Slot } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import type { CredentialStore } from "../credentials/credential-store.ts";
import { type EventBus, failureFacts } from "../events.ts";

const MINUTE_MS = 60_000;
/** Tickets are pushed every ten minutes: two in a row may get lost. */
const SILENT_MS = 25 * MINUTE_MS;
const LOOK_MS = MINUTE_MS;
const REQUEST_MS = 10_000;
/** A request that failed is made again so much later. */
const AGAIN_MS = 10 * MINUTE_MS;
/** A silence has one name, so this is once and for all. */
const ONCE_MS = 3650 * 86_400_000;

/** What tickets are watched with. */
export interface TicketWatchParts {
  readonly store: Pick<CredentialStore, "find">;
  readonly directory: Pick<AppDirectory, "sorted" | "slotNamed">;
  /** Has WeChat push tickets of a component again. */
  readonly startPushing: (platform: Slot, signal: AbortSignal) => Promise<void>;
  /** See `MilestoneStore.claim`. */
  readonly claim: (work: string, everyMs: number) => Promise<number>;
  readonly clock: Clock;
  readonly events: EventBus;
}

/**
 * Notices when WeChat pushes tickets of a component no more, and asks for them: once in each silence, by one of all
 * processes, and again where that failed. WeCom can't be asked.
 */
export class TicketWatch {
  readonly #parts: TicketWatchParts;
  readonly #stopping = new AbortController();
  /** Since when each component is known here that has never had a ticket (monotonic). */
  readonly #knownSince = new Map<string, number>();
  /** The silences that were dealt with, by whichever process. */
  readonly #handled = new Set<string>();
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;

  constructor(parts: TicketWatchParts) {
    this.#parts = parts;
  }

  start(): void {
    const look = () => {
      this.#running ??= this.tick().finally(() => (this.#running = undefined));
    };
    this.#timer = setInterval(look, LOOK_MS);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopping.abort();
    await this.#running;
  }

  /** Looks at every component. Never throws. */
  async tick(): Promise<void> {
    const { directory } = this.#parts;
    for (const { role, platform, id } of directory.sorted()) {
      if (role !== "component") continue;
      const slot = directory.slotNamed({ platform, appId: id, name: `@${role}` });
      if (slot) await this.#look(slot).catch(() => undefined);
    }
  }

  async #look(slot: Slot): Promise<void> {
    const { store, claim, startPushing, clock, events } = this.#parts;
    const { appId: platformApp } = slot;
    const { credential } = await store.find({ slot, kind: "component_verify_ticket" });
    const issuedAt = credential?.issuedAt ?? 0;
    const silentMs = credential ? clock.now() - issuedAt : this.#knownMs(platformApp);
    const silence = `tickets of ${platformApp} after ${issuedAt}`;
    if (silentMs < SILENT_MS || this.#handled.has(silence)) return;
    const waitMs = await claim(silence, ONCE_MS);
    if (waitMs === 0 || waitMs > AGAIN_MS) this.#handled.add(silence);
    if (waitMs > 0) return;
    const signal = AbortSignal.any([AbortSignal.timeout(REQUEST_MS), this.#stopping.signal]);
    const failure = await startPushing(slot, signal).then(() => undefined, failureFacts);
    events.emit({ type: "tickets.requested", platformApp, silentMs, ...failure });
    if (!failure) return;
    this.#handled.delete(silence);
    await claim(silence, AGAIN_MS);
  }

  #knownMs(platformApp: string): number {
    const now = this.#parts.clock.monotonic();
    const since = this.#knownSince.get(platformApp) ?? now;
    this.#knownSince.set(platformApp, since);
    return now - since;
  }
}
