import type { Clock } from "../clock.ts";
import { type EventBus, failureFacts } from "../events.ts";
import type { MilestoneStore } from "./milestones.ts";

/** Where the service puts its backups, and how often it makes one. */
export interface BackupPlan {
  readonly folder: string;
  readonly everyMs: number;
}

/** A backup that was just made. */
export interface MadeBackup {
  /** Its file's name, without the folder. */
  readonly file: string;
  readonly bytes: number;
}

/** What backups are made with. */
export interface BackupsParts {
  readonly store: MilestoneStore;
  /** Undefined where the service makes none. */
  readonly plan: BackupPlan | undefined;
  /**
   * Makes one and notes the milestone `backup`, without keeping the event loop from others; when `signal` is aborted it
   * gives up, and nothing is left of it. Throws a `ServiceError` when it could not.
   */
  readonly make: (signal: AbortSignal) => Promise<MadeBackup>;
  readonly clock: Clock;
  readonly events: EventBus;
}

/** How it stands with backups. */
export interface BackupState extends Partial<BackupPlan> {
  /** The last one that was made, by the service or by hand. */
  readonly last?: MadeBackup & { readonly at: number };
  /** Why none was made since, and when it was tried last. */
  readonly failed?: { readonly at: number; readonly message: string };
  /** Whether there should be a newer one: of the service, or where some were made by hand or a timer. */
  readonly isStale: boolean;
}

/** After a failure it is tried again so soon, by any process. */
const RETRY_MS = 3_600_000;
/** It is looked again as often at least: clocks are set, and others make backups. */
const MAX_WAIT_MS = 3_600_000;
/** Of what is due, so much later it is said to be stale. */
export const STALE_SHARE = 1.5;
/** How often they are due where the service makes none, and somebody does. */
const USUAL_MS = 86_400_000;
/** How long what the database said is told on. */
const CACHE_MS = 10_000;

/**
 * Backs up the database now and then, once among all processes: the milestone in the database says when the next is due,
 * and whoever claims it makes it. A failure, and a process that was killed in the midst of one, cost an hour.
 */
export class Backups {
  readonly #parts: BackupsParts;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;
  #timer: Timer | undefined;
  #state: { readonly state: Promise<BackupState>; readonly until: number } | undefined;

  constructor(parts: BackupsParts) {
    this.#parts = parts;
  }

  start(): void {
    if (this.#parts.plan) this.#arm(0);
  }

  /** Gives up what is being made, and waits until nothing is left of it. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#timer);
    await this.#running;
  }

  /** Makes a backup if one is due and no other process makes it. Resolves when that has ended; never throws. */
  async tick(): Promise<void> {
    const { plan } = this.#parts;
    if (!plan || this.#stopping.signal.aborted) return;
    this.#running ??= this.#roundThenArm(plan);
    await this.#running;
  }

  /** How it stands, not older than ten seconds. Empty while the database can't be read; never throws. */
  state(): Promise<BackupState> {
    const now = this.#parts.clock.monotonic();
    if (!this.#state || now >= this.#state.until)
      this.#state = { state: this.#look().catch(() => ({ isStale: false })), until: now + CACHE_MS };
    return this.#state.state;
  }

  async #look(): Promise<BackupState> {
    const { store, plan, clock } = this.#parts;
    const reached = await store.list();
    const [last, failure] = [reached.get("backup"), reached.get("backup_failed")];
    const failed = failure && failure.at > (last?.at ?? 0) ? failure : undefined;
    return {
      ...plan,
      ...(last && {
        last: { at: last.at, file: String(last.detail["file"]), bytes: Number(last.detail["bytes"]) },
      }),
      ...(failed && { failed: { at: failed.at, message: String(failed.detail["message"]) } }),
      isStale: last
        ? clock.now() - last.at > STALE_SHARE * (plan?.everyMs ?? USUAL_MS)
        : plan !== undefined && failed !== undefined,
    };
  }

  async #roundThenArm(plan: BackupPlan): Promise<void> {
    const waitMs = await this.#round(plan).catch(() => MAX_WAIT_MS);
    this.#running = undefined;
    this.#arm(waitMs);
  }

  /** Resolves with how long it is until the next look, in milliseconds. */
  async #round({ everyMs }: BackupPlan): Promise<number> {
    const { store, make, clock, events } = this.#parts;
    const { signal } = this.#stopping;
    const now = clock.now();
    const last = (await store.list()).get("backup")?.at ?? 0;
    // One from the future was noted by a clock that has been set back since.
    if (last <= now && now < last + everyMs) return last + everyMs - now;
    const claimedMs = await store.claim("backup", Math.min(RETRY_MS, everyMs / 2));
    if (claimedMs > 0) return claimedMs;
    const startedAt = clock.monotonic();
    try {
      const made = await make(signal);
      events.emit({ type: "backup.made", ...made, durationMs: Math.round(clock.monotonic() - startedAt) });
    } catch (error) {
      if (signal.aborted) return MAX_WAIT_MS;
      const facts = failureFacts(error);
      events.emit({ type: "backup.failed", ...facts });
      await store
        .reach("backup_failed", { at: clock.now(), detail: { message: facts.errmsg ?? facts.code } })
        .catch(() => undefined);
    }
    this.#state = undefined;
    return 0;
  }

  #arm(waitMs: number): void {
    clearTimeout(this.#timer);
    if (this.#stopping.signal.aborted) return;
    this.#timer = setTimeout(() => void this.tick(), Math.min(waitMs, MAX_WAIT_MS));
  }
}
