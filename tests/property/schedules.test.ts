import { expect, test } from "bun:test";
import * as fc from "fast-check";
import type { CredentialStore } from "../../src/credentials/credential-store.ts";
import { CredentialCache } from "../../src/credentials/credential-cache.ts";
import { CredentialManager } from "../../src/credentials/manager.ts";
import { Pacing } from "../../src/credentials/pacing.ts";
import { ServiceError } from "../../src/errors.ts";
import { EventBus } from "../../src/events.ts";
import { Secret } from "../../src/secret.ts";
import { ManualChanges } from "../support/manual-changes.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { Issuer, refOf, type Sort } from "./issuer.ts";
import {
  MemoryChanges,
  MemoryCredentialStore,
  MemoryDatabase,
  MemoryPacingStore,
  type Turn,
} from "./memory-store.ts";

const ACTOR = { client: "test", environment: "", address: "127.0.0.1", traceId: "" };

/** What callers do, all at once; `lapse`: so long passes that a holder loses its lease. */
type Deed = { do: "get" | "replace" | "clear" | "complain" | "late get"; node: number } | { do: "lapse" };

/** A clock whose sleepers wait for their turn like everybody else. */
class ScheduledClock extends ManualClock {
  readonly #turn: Turn;

  constructor(turn: Turn) {
    super();
    this.#turn = turn;
  }

  override sleep(_ms: number): Promise<void> {
    return this.#turn("sleep");
  }
}

/** Two nodes whose every await is put in an order by the scheduler. */
class Interleaving {
  readonly clock: ScheduledClock;
  readonly issuer: Issuer;
  readonly #sort: Sort;
  readonly #turn: Turn;
  readonly #nodes: CredentialManager[];
  readonly #database = new MemoryDatabase();
  /** Per value, the number of the last ask when its clear had ended. */
  readonly #clearedAt = new Map<string, number>();
  /** What WeChat has confirmed to be dead, once all nodes have had the time to notice. */
  readonly #buried = new Set<string>();
  #clears: Promise<void> = Promise.resolve();
  readonly faults: string[] = [];

  constructor(
    sort: Sort,
    turn: Turn,
    { wrap = (store) => store, isDeaf = false }: Omit<Weather, "mayLapse">,
  ) {
    this.#sort = sort;
    this.#turn = turn;
    this.clock = new ScheduledClock(turn);
    this.issuer = new Issuer(sort, this.clock, turn);
    this.#nodes = ["a", "b"].map((name) => {
      const store = wrap(new MemoryCredentialStore(this.#database, name, turn, () => this.clock.now()));
      const events = new EventBus();
      return new CredentialManager({
        source: this.issuer,
        probe: this.issuer,
        store,
        pacing: new Pacing({ store: new MemoryPacingStore(this.#database, turn), clock: this.clock, events }),
        memory: new CredentialCache(
          store,
          isDeaf ? new ManualChanges() : new MemoryChanges(this.#database, name, this.clock),
          this.clock,
        ),
        clock: this.clock,
        events,
        holder: name,
      });
    });
    this.#database.onSave = (credential, before) => {
      const asked = (value: Secret) => this.issuer.find(value.reveal())?.lastAsk ?? 0;
      if (before && asked(before.value) > asked(credential.value))
        this.faults.push("P5: an older save over a newer");
    };
  }

  async perform(deed: Deed): Promise<void> {
    await this.#turn(deed.do);
    if (deed.do === "lapse") return this.clock.advance(11_000);
    const manager = this.#nodes[deed.node];
    if (!manager) return;
    const ref = refOf(this.#sort);
    const standing = this.#standing();
    if (deed.do === "clear") return this.#clear(manager, undefined);
    if (deed.do === "complain") return this.#clear(manager, standing);
    // Later than whatever else has its turn meanwhile.
    if (deed.do === "late get") for (let turn = 0; turn < 12; turn++) await this.#turn("later");
    const began = new Map(this.#clearedAt);
    const buried = new Set(this.#buried);
    try {
      const got = await (deed.do === "replace"
        ? manager.replace(ref, new Secret(standing ?? "nothing"))
        : manager.get(ref));
      this.#judge(got, began, buried);
      if (deed.do === "replace") this.#noteDeath(standing);
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      // A dead end is told for longer than a complaint that came too soon.
      if (deed.do === "replace" && (error.retryAfterMs ?? 0) > 10_000) this.#noteDeath(standing);
    }
  }

  settle(): Promise<unknown> {
    return Promise.all(this.#nodes.map((node) => node.settle()));
  }

  /** P2 for a value that was handed out, by what held when its get began. */
  #judge(
    got: { value: Secret; remainingMs(): number },
    began: ReadonlyMap<string, number>,
    buried: ReadonlySet<string>,
  ): void {
    const value = got.value.reveal();
    const token = this.issuer.find(value);
    if (!token) return void this.faults.push("P2: never issued");
    if (this.clock.monotonic() + got.remainingMs() > token.endsAt)
      this.faults.push("P2: a longer life than it has");
    if (buried.has(value)) this.faults.push("P2: buried before the get began");
    if (token.lastAsk <= (began.get(value) ?? 0)) this.faults.push("P2: cleared before the get began");
  }

  #noteDeath(value: string | undefined): void {
    // So long other nodes may take to notice.
    this.clock.advance(50);
    if (value !== undefined && this.issuer.find(value)?.isConfirmedDead) this.#buried.add(value);
  }

  async #clear(manager: CredentialManager, value: string | undefined): Promise<void> {
    // One after the other: a second clear within 10 s has nothing to do, and does not wait for the first.
    const before = this.#clears;
    const done = Promise.withResolvers<void>();
    this.#clears = done.promise;
    await before;
    const [standing, { asks, probes }] = [this.#standing(), this.issuer];
    try {
      const onlyIf = value === undefined ? {} : { onlyIf: new Secret(value) };
      await manager.clear(refOf(this.#sort), { actor: ACTOR, ...onlyIf });
    } catch (error) {
      if (error instanceof ServiceError) return;
      throw error;
    } finally {
      done.resolve();
    }
    // So long other nodes may take to notice.
    this.clock.advance(50);
    // A complaint that somebody has looked into already, or that missed its value, changes nothing.
    if (value === undefined && standing && this.issuer.probes === probes) this.#clearedAt.set(standing, asks);
  }

  #standing(): string | undefined {
    return [...this.#database.rows.values()][0]?.credential?.value.reveal();
  }
}

const node = fc.integer({ min: 0, max: 1 });
const deed = fc.record({
  do: fc.constantFrom(
    "get" as const,
    "get" as const,
    "late get" as const,
    "replace" as const,
    "clear" as const,
    "complain" as const,
  ),
  node,
});
const lapse = fc.constant<Deed>({ do: "lapse" });

interface Weather {
  readonly mayLapse: boolean;
  readonly wrap?: (store: CredentialStore) => CredentialStore;
  /** Whether the nodes learn of no change, not even of their own. */
  readonly isDeaf?: boolean;
}

function holds({ mayLapse, ...faults }: Weather) {
  const deeds = fc.array<Deed>(mayLapse ? fc.oneof({ weight: 6, arbitrary: deed }, lapse) : deed, {
    minLength: 2,
    maxLength: 8,
  });
  const state = fc.record({
    sort: fc.constantFrom<Sort>("classic", "stable", "wecom"),
    before: fc.constantFrom("nothing", "living", "ending", "killed", "killed unnoticed"),
  });
  return fc.asyncProperty(fc.scheduler(), deeds, state, async (scheduler, deeds, { sort, before }) => {
    let isScheduled = false;
    const turn: Turn = (label) =>
      isScheduled ? scheduler.schedule(Promise.resolve(), label) : Promise.resolve();
    const nodes = new Interleaving(sort, turn, faults);
    if (before !== "nothing") {
      await nodes.perform({ do: "get", node: 0 });
      await nodes.perform({ do: "get", node: 1 });
    }
    if (before === "ending") nodes.clock.advance(7_100_000);
    if (before.startsWith("killed")) nodes.issuer.kill(before.endsWith("unnoticed"));
    isScheduled = true;
    const all = Promise.all(deeds.map((each) => nodes.perform(each))).then(() => nodes.settle());
    await scheduler.waitFor(all);

    expect(nodes.faults).toEqual([]);
    // A holder that hangs past its lease may have a request under way beside its successor's.
    if (!mayLapse) expect(nodes.issuer.mostInFlight).toBeLessThanOrEqual(1);
  });
}

test("P1, P2, P5: whatever the order of every await, two nodes ask one at a time and hand out nothing that is gone", async () => {
  await fc.assert(holds({ mayLapse: false }), { numRuns: 1500 });
});

test("P2, P5: also when holders lose their leases in the middle", async () => {
  await fc.assert(holds({ mayLapse: true }), { numRuns: 1500 });
});

const broken = (methods: (store: CredentialStore) => Partial<CredentialStore>) => (store: CredentialStore) =>
  new Proxy(store, {
    get: (target, key) => {
      const found: unknown = Reflect.get(methods(store), key) ?? Reflect.get(target, key);
      return typeof found === "function" ? (found.bind(target) as unknown) : found;
    },
  });

const CONTROLS: Readonly<Record<string, Weather>> = {
  "a lease that everybody gets": {
    mayLapse: false,
    wrap: broken((store) => ({
      lease: async (name, request) => ({ ...(await store.lease(name, request)), isGranted: true }),
    })),
  },
  "a save without a fence": {
    mayLapse: true,
    wrap: broken((store) => ({
      save: async (name, credential) => store.save(name, credential, (await store.find(name)).generation),
    })),
  },
  "a clear that changes nothing": {
    mayLapse: false,
    wrap: broken((store) => ({ clear: async ([only]) => [await store.find(only!.name)] })),
  },
  "nodes that do not notice each other": { mayLapse: false, isDeaf: true },
  "a death that is forgotten": {
    mayLapse: false,
    wrap: broken((store) => ({ markRevoked: (name) => store.find(name) })),
  },
};
for (const [name, weather] of Object.entries(CONTROLS)) {
  test(`control: the schedules find ${name}`, async () => {
    const outcome = await fc.check(holds(weather), { numRuns: 20_000, endOnFailure: true });

    expect(outcome.failed).toBe(true);
  });
}
