import type { Clock } from "../clock.ts";
import type { EventBus } from "../events.ts";
import { afterSeen, afterUnseen, alarmKey, alarmOf, type AlarmRecord, type Finding } from "./alarm-state.ts";
import type { ChannelDirectory } from "./channels.ts";
import { type Content, isTold, withNews } from "./message-content.ts";
import type { NotReadyReason } from "./readiness.ts";

const MIB = 1_048_576;
/** How long what was reported once counts as lasting. */
const FAILED_MS = 60_000;
const BROKEN_MS = 3_600_000;

/** What a process sees by itself. */
export interface ProcessWatchParts {
  /** The name of this machine. */
  readonly host: string;
  /** Whether this process looks after what is the same for all of its machine. */
  readonly isFirst: boolean;
  readonly notReady: () => Promise<readonly NotReadyReason[]>;
  /** How many bytes are free where the database is; undefined where it is on another machine. */
  readonly freeBytes: () => Promise<number | undefined>;
  readonly channels: Pick<ChannelDirectory, "list" | "settingOf">;
  /** Sends without the store. Never throws. */
  readonly sendDirectly: (channel: string, content: Content) => Promise<void>;
  readonly clock: Clock;
  readonly events: EventBus;
}

/**
 * Sees what only this process can: an audit or a database that can't be written, a disk that is nearly full.
 *
 * Where the database itself is what fails, no process can be told by it that another one has spoken: then the first process
 * of each machine tells by itself, with the channels that it has in memory.
 */
export class ProcessWatch {
  readonly #parts: ProcessWatchParts;
  /** When the audit failed last, and was found broken, by the monotonic clock. */
  #auditFailedAt = Number.NEGATIVE_INFINITY;
  #auditBrokenAt = Number.NEGATIVE_INFINITY;
  /** When the store could not be told last. */
  #storeFailedAt = Number.NEGATIVE_INFINITY;
  /** The alarms that are told without the store. */
  readonly #direct = new Map<string, AlarmRecord>();

  constructor(parts: ProcessWatchParts) {
    this.#parts = parts;
    parts.events.subscribe(({ type }) => {
      if (type === "audit.failed") this.#auditFailedAt = parts.clock.monotonic();
      if (type === "audit.broken") this.#auditBrokenAt = parts.clock.monotonic();
    });
  }

  /** Looks, and has `observe` take note of what is wrong; tells by itself where that fails. Never throws. */
  async look(observe: (found: readonly Finding[]) => Promise<void>): Promise<void> {
    const now = this.#parts.clock.monotonic();
    const found = await this.#findings();
    // That the audit could not be written while the database was away is no alarm of its own when that is back.
    const isOutage = now - this.#storeFailedAt < FAILED_MS;
    const told = found.map((each) =>
      isOutage && each.condition === "audit_failing" ? { ...each, isRemnant: true } : each,
    );
    try {
      if (told.length > 0) await observe(told);
    } catch {
      this.#storeFailedAt = now;
      await this.#tell(found);
      return;
    }
    if (isOutage) this.#auditFailedAt = Number.NEGATIVE_INFINITY;
    await this.#tell([]);
  }

  async #findings(): Promise<Finding[]> {
    const { host: subject, isFirst, notReady, freeBytes, channels, clock } = this.#parts;
    const now = clock.monotonic();
    const found: Finding[] = [];
    const add = (condition: Finding["condition"], message: string) =>
      found.push({ condition, subject: condition === "audit_broken" ? "" : subject, detail: { message } });
    if (now - this.#auditBrokenAt < BROKEN_MS)
      add(
        "audit_broken",
        "审计记录与链不符，不再删除旧记录 (entries do not fit the chain; none is deleted any more)",
      );
    const reasons = isFirst ? await notReady() : [];
    const audit = reasons.find(({ part }) => part === "audit")?.message;
    if (audit !== undefined || now - this.#auditFailedAt < FAILED_MS)
      add("audit_failing", audit ?? "审计记录写入失败 (an entry could not be written)");
    const database = reasons.find(
      ({ part }) => part === "database" || part === "key" || part === "migrations",
    );
    if (database) add("store_read_only", database.message);
    const free = isFirst ? await freeBytes().catch(() => undefined) : undefined;
    if (free !== undefined && free < channels.settingOf("disk_low").threshold * MIB)
      add("disk_low", `剩余 ${Math.floor(free / MIB)} MiB (${Math.floor(free / MIB)} MiB are left)`);
    return found;
  }

  /** Tells of what is wrong, and of what was and is no more, without the store. */
  async #tell(found: readonly Finding[]): Promise<void> {
    const { channels, clock, isFirst, sendDirectly } = this.#parts;
    if (!isFirst || (found.length === 0 && this.#direct.size === 0)) return;
    const now = clock.now();
    const seen = new Set(found.map(alarmKey));
    const steps = [
      ...found
        .filter(({ condition }) => channels.settingOf(condition).isOn)
        .map((finding) => afterSeen(this.#direct.get(alarmKey(finding)), finding, now)),
      ...[...this.#direct.values()]
        .filter((record) => !seen.has(alarmKey(record)))
        .map((record) => afterUnseen(record, now)),
    ].flatMap((step) => step ?? []);
    for (const { to } of steps) {
      if (to.state === "resolved") this.#direct.delete(alarmKey(to));
      else this.#direct.set(alarmKey(to), to);
    }
    const sendings = channels.list().map(async ({ name, isEnabled, rules }) => {
      let content: Content | undefined;
      for (const { news, to } of steps)
        if (news !== undefined)
          content = withNews(content, { news, alarm: alarmOf(to) }, isTold(rules, news, alarmOf(to)));
      if (isEnabled && content) await sendDirectly(name, content);
    });
    await Promise.all(sendings);
  }
}
