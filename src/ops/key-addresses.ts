import type { Clock } from "../clock.ts";
import { afterSeen, alarmKey, type AlarmRecord } from "./alarm-state.ts";
import type { AlarmStore } from "./alarm-store.ts";
import type { ChannelDirectory } from "./channels.ts";

/** How many addresses wait to be looked at, and are known to need no look. */
const MAX_WAITING = 1000;
const MAX_KNOWN = 10_000;
const DAY_MS = 86_400_000;

/** What became of an alarm, and whether anybody is told. */
type Change = { readonly from: number; readonly to: AlarmRecord; readonly news: "firing" | undefined };

/**
 * Notes from which addresses clients come, while somebody wants to know when that is a new one.
 *
 * The alarms themselves are the memory: the first address of a client is remembered and told to nobody, each further one is told
 * once, and one that has not been seen for three months is new again.
 */
export class KeyAddresses {
  readonly #store: Pick<AlarmStore, "list">;
  readonly #channels: Pick<ChannelDirectory, "settingOf">;
  readonly #clock: Clock;
  readonly #known = new Set<string>();
  readonly #waiting = new Map<string, { readonly client: string; readonly address: string }>();
  #isOn = false;

  constructor(store: Pick<AlarmStore, "list">, channels: Pick<ChannelDirectory, "settingOf">, clock: Clock) {
    this.#store = store;
    this.#channels = channels;
    this.#clock = clock;
  }

  /** Notes that a key of a client was used from an address. Fast. */
  readonly note = (client: string, origin: { readonly address: string }): void => {
    // Which address it is is not looked up for nobody.
    if (!this.#isOn) return;
    const { address } = origin;
    const subject = `${client} ${address}`;
    if (this.#known.has(subject) || this.#waiting.size >= MAX_WAITING) return;
    this.#waiting.set(subject, { client, address });
  };

  /** Has `apply` take down what was noted. Throws what the store throws; then it is kept for the next time. */
  async look(apply: (changes: readonly Change[]) => Promise<void>): Promise<void> {
    this.#isOn = this.#channels.settingOf("new_address").isOn;
    if (!this.#isOn) {
      this.#known.clear();
      this.#waiting.clear();
    }
    if (this.#waiting.size === 0) return;
    const now = this.#clock.now();
    const records = new Map(
      (await this.#store.list("new_address")).map((record) => [alarmKey(record), record]),
    );
    const clients = new Set([...records.values()].map(({ subject }) => subject.split(" ")[0]));
    const waiting = [...this.#waiting];
    await apply(
      waiting.flatMap(([subject, { client, address }]): Change[] => {
        const condition = "new_address";
        const record = records.get(alarmKey({ condition, subject }));
        if (record) {
          const to = { ...record, seenAt: now };
          return now - record.seenAt < DAY_MS ? [] : [{ from: record.version, to, news: undefined }];
        }
        const message = `${client} 首次从 ${address} 使用密钥 (a key of ${client} was used from ${address} for the first time)`;
        const step = afterSeen(undefined, { condition, subject, detail: { message } }, now);
        if (!step) return [];
        const isFirst = !clients.has(client);
        clients.add(client);
        return [{ from: 0, to: step.to, news: isFirst ? undefined : "firing" }];
      }),
    );
    if (this.#known.size > MAX_KNOWN) this.#known.clear();
    for (const [subject] of waiting) {
      this.#known.add(subject);
      this.#waiting.delete(subject);
    }
  }
}
