import { setImmediate as nextTurn } from "node:timers/promises";
import type { AppDirectory } from "../apps/app-directory.ts";
import { appName, type SlotName } from "../apps/app.ts";
import type { CallCount, CallCountStore, Piece } from "../audit/call-counts.ts";
import type { Changes } from "../changes.ts";
import { beijingDay, type Clock } from "../clock.ts";
import { type Platform, ServiceError } from "../errors.ts";
import { AppTable } from "./app-table.ts";
import { type Backoff, concernedBy, isCredible } from "./backoff.ts";
import type { CredentialFactsStore } from "./credential-store.ts";
import type { PacingStore } from "./pacing-store.ts";

/** What it reads. */
export interface LiveAppTableParts {
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
const UNREACHABLE: ReadonlySet<string> = new Set(["upstream_unreachable", "upstream_timeout"]);
/** It is forgotten when nobody has asked for so long. */
const IDLE_MS = 300_000;

/**
 * What the store knows of every app, kept up to date while it is asked for.
 *
 * It reads the store when it is first asked, and from then on what the change feed names; when nobody asks any more, it
 * forgets everything. Last uses and today's calls may be half a minute old where there are very many apps.
 */
export class LiveAppTable {
  readonly #parts: LiveAppTableParts;
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

  constructor(parts: LiveAppTableParts) {
    this.#parts = parts;
  }

  /** Until when each app waits whose upstream could not be reached, as of the last answer. */
  get unreachable(): ReadonlyMap<string, number> {
    return this.#unreachable;
  }

  /** Forgets everything. It may be asked again. */
  stop(): void {
    clearTimeout(this.#idle);
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#table = undefined;
  }

  /** The table, with everything that was committed before the call. */
  async current(): Promise<AppTable> {
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
