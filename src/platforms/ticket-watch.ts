import type { AppDirectory } from "../apps/app-directory.ts";
import type { Slot } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import type { CredentialStore } from "../credentials/credential-store.ts";
import { type EventBus, failureFacts } from "../events.ts";

const MINUTE_MS = 60_000;
/** Tickets are pushed every ten minutes: two in a row may get lost. So often they are asked for while none comes. */
const SILENT_MS = 25 * MINUTE_MS;
const LOOK_MS = MINUTE_MS;
const REQUEST_MS = 10_000;
/** A request that failed is made again so much later. */
const AGAIN_MS = 10 * MINUTE_MS;

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
 * Notices when WeChat pushes tickets of a component no more, and asks for them until one comes, by one of all processes.
 * WeCom can't be asked.
 */
export class TicketWatch {
  readonly #parts: TicketWatchParts;
  readonly #stopping = new AbortController();
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
    for (const { role, platform, id, addedAt = 0 } of directory.sorted()) {
      if (role !== "component") continue;
      const slot = directory.slotNamed({ platform, appId: id, name: `@${role}` });
      if (slot) await this.#look(slot, addedAt).catch(() => undefined);
    }
  }

  async #look(slot: Slot, addedAt: number): Promise<void> {
    const { store, claim, startPushing, clock, events } = this.#parts;
    const { appId: platformApp } = slot;
    const { credential } = await store.find({ slot, kind: "component_verify_ticket" });
    const silentMs = clock.now() - (credential?.issuedAt ?? addedAt);
    const work = `tickets of ${platformApp}`;
    if (silentMs < SILENT_MS || (await claim(work, SILENT_MS)) > 0) return;
    const signal = AbortSignal.any([AbortSignal.timeout(REQUEST_MS), this.#stopping.signal]);
    const failure = await startPushing(slot, signal).then(() => undefined, failureFacts);
    events.emit({ type: "tickets.requested", platformApp, silentMs, ...failure });
    if (failure) await claim(work, AGAIN_MS);
  }
}
