import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { CredentialStore } from "../../src/credentials/credential-store.ts";
import { CredentialCache } from "../../src/credentials/credential-cache.ts";
import { CredentialManager } from "../../src/credentials/manager.ts";
import { Pacing } from "../../src/credentials/pacing.ts";
import { ServiceError } from "../../src/errors.ts";
import { EventBus } from "../../src/events.ts";
import { Secret } from "../../src/secret.ts";
import { ManualChanges } from "../support/manual-changes.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { type Fault, Issuer, refOf, type Sort } from "./issuer.ts";
import { MemoryChanges, MemoryCredentialStore, MemoryDatabase, MemoryPacingStore } from "./memory-store.ts";

const ACTOR = { client: "test", environment: "", address: "127.0.0.1", traceId: "" };

const DAY_MS = 86_400_000;
const now = () => Promise.resolve();

type Command =
  | { do: "get"; node: number; minTtlMs: number }
  | { do: "replace"; node: number; which: number }
  | { do: "refresh"; node: number; force: boolean }
  | { do: "clear"; node: number; isComplaint: boolean }
  | { do: "fail"; fault: Fault }
  | { do: "kill"; isUnnoticed: boolean }
  | { do: "advance"; ms: number }
  | { do: "restart"; node: number };

const node = fc.integer({ min: 0, max: 1 });
const commands = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant("get" as const), node, minTtlMs: fc.constantFrom(0, 240_000) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant("replace" as const),
        node,
        which: fc.integer({ min: 0, max: 2 }),
      }),
    },
    fc.record({ do: fc.constant("refresh" as const), node, force: fc.boolean() }),
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant("clear" as const), node, isComplaint: fc.boolean() }),
    },
    fc.record({
      do: fc.constant("fail" as const),
      fault: fc.constantFrom<Fault>("none", "none", "down", "lost", "config", "silent_probe"),
    }),
    fc.record({ do: fc.constant("kill" as const), isUnnoticed: fc.boolean() }),
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant("advance" as const),
        ms: fc.constantFrom(1000, 11_000, 31_000, 280_000, 3_600_000, 6_950_000),
      }),
    },
    fc.record({ do: fc.constant("restart" as const), node }),
  ) as fc.Arbitrary<Command>,
  { minLength: 1, maxLength: 25 },
);

/** What is wrong with the store of the nodes. */
interface StoreFault {
  readonly wrap?: (store: CredentialStore) => CredentialStore;
  /** Whether the nodes learn of no change, not even of their own. */
  readonly isDeaf?: boolean;
}

/** What may be expected of two nodes on one store, whatever happens to them: the reference. */
class Reference {
  readonly clock = new ManualClock();
  readonly issuer: Issuer;
  readonly #sort: Sort;
  readonly #wrap: (store: CredentialStore) => CredentialStore;
  readonly #isDeaf: boolean;
  readonly #database = new MemoryDatabase();
  readonly #managers: CredentialManager[];
  /** The value that stands, as far as callers were told, and until when. */
  #standing: { value: string; endsAt: number; knownAt: number } | undefined;
  /** Per value, the number of the last ask before it was cleared or rejected. */
  readonly #forgotten = new Map<string, number>();

  constructor(sort: Sort, { wrap = (store) => store, isDeaf = false }: StoreFault) {
    this.#sort = sort;
    this.#wrap = wrap;
    this.#isDeaf = isDeaf;
    this.issuer = new Issuer(sort, this.clock);
    this.#managers = [this.#start("a"), this.#start("b")];
  }

  async run(command: Command): Promise<void> {
    switch (command.do) {
      case "get":
        await this.#get(command.node, command.minTtlMs);
        break;
      case "replace":
        await this.#replace(command.node, command.which);
        break;
      case "refresh":
        await this.#tried(() => this.#manager(command.node).refresh(refOf(this.#sort), command));
        break;
      case "clear":
        await this.#clear(command.node, command.isComplaint);
        break;
      case "fail":
        this.issuer.fault = command.fault;
        break;
      case "kill":
        this.issuer.kill(command.isUnnoticed);
        break;
      case "advance":
        this.clock.advance(command.ms);
        break;
      case "restart":
        this.#managers[command.node] = this.#start(command.node === 0 ? "a" : "b");
    }
    // A renewal that a get has begun in passing is a flight only some turns later.
    if (command.do === "get") await nextTurn();
    for (const manager of this.#managers) await manager.settle();
    // So long other nodes may take to notice.
    this.clock.advance(50);
  }

  /** Once everything is well again, both nodes hand out one living token. */
  async heal(): Promise<void> {
    this.issuer.fault = "none";
    this.clock.advance(2 * DAY_MS);
    const values: string[] = [];
    for (const manager of this.#managers) {
      const got = await manager.get(refOf(this.#sort));
      values.push(got.value.reveal());
      this.clock.advance(50);
    }
    const token = this.issuer.find(values[0] ?? "");
    expect(values[1]).toBe(values[0] ?? "");
    expect(token && this.issuer.isAlive(token)).toBe(true);
  }

  async #get(index: number, minTtlMs: number): Promise<void> {
    const { asks } = this.issuer;
    const lives = this.#standing && this.#standing.endsAt - this.clock.monotonic() >= 1000;
    const leftMs = this.#standing ? this.#standing.endsAt - this.clock.monotonic() : 0;
    const got = await this.#tried(() => this.#manager(index).get(refOf(this.#sort), { minTtlMs }));
    if (!lives) return;
    // A living credential is never taken away, and costs nothing while there is much left of it.
    expect(got).toBeDefined();
    const known = this.#standing?.knownAt ?? 0;
    if (this.issuer.tokens.every(({ firstAsk }) => firstAsk <= known))
      expect(got).toBe(this.#standing?.value);
    if (leftMs > 310_000) expect(this.issuer.asks).toBe(asks);
  }

  async #replace(index: number, which: number): Promise<void> {
    const { asks, probes } = this.issuer;
    const standing = this.#standing?.value;
    const rejected =
      which === 0 ? (standing ?? "nothing") : (this.issuer.tokens.at(-which)?.value ?? "garbage");
    const lives = this.#standing && this.#standing.endsAt - this.clock.monotonic() >= 301_000;
    const isNewest = this.issuer.tokens.at(-1)?.value === standing;
    const got = await this.#tried(() =>
      this.#manager(index).replace(refOf(this.#sort), new Secret(rejected)),
    );
    if (lives && isNewest && standing !== rejected) {
      expect(got).toBe(standing);
      expect([this.issuer.asks, this.issuer.probes]).toEqual([asks, probes]);
    }
    const token = this.issuer.find(rejected);
    // The same value comes back only when WeChat says, or has said within 60 s, that it is alive.
    if (got === rejected) expect(token?.isConfirmedDead).toBe(false);
  }

  async #clear(index: number, isComplaint: boolean): Promise<void> {
    const onlyIf = isComplaint ? { onlyIf: new Secret(this.#standing?.value ?? "nothing") } : {};
    const { asks, probes } = this.issuer;
    const wasRejected = this.#forgotten.size;
    const record = () => [...this.#database.rows.values()][0];
    const before = record();
    try {
      await this.#manager(index).clear(refOf(this.#sort), { actor: ACTOR, ...onlyIf });
    } catch (error) {
      expect(error).toBeInstanceOf(ServiceError);
      return;
    }
    expect([this.issuer.asks, this.issuer.probes, wasRejected]).toEqual([asks, probes, this.#forgotten.size]);
    const value = before?.credential?.value.reveal();
    const isIgnored = isComplaint && (value !== this.#standing?.value || !record()?.isRejected);
    if (value === undefined || isIgnored) return;
    this.#forgotten.set(value, this.issuer.asks + this.issuer.probes);
    this.#standing = undefined;
  }

  /** The value that came, checked for what holds of every value that is handed out. */
  async #tried(work: () => Promise<{ value: Secret; remainingMs(): number }>): Promise<string | undefined> {
    try {
      const got = await work();
      const value = got.value.reveal();
      const token = this.issuer.find(value);
      const left = got.remainingMs();
      if (!token) throw new Error("never issued");
      expect(left).toBeGreaterThanOrEqual(1000);
      expect(left).toBeLessThanOrEqual(token.endsAt - this.clock.monotonic());
      expect(token.isConfirmedDead).toBe(false);
      const forgottenAt = this.#forgotten.get(value);
      if (forgottenAt !== undefined)
        expect(this.issuer.asks + this.issuer.probes).toBeGreaterThan(forgottenAt);
      this.#forgotten.delete(value);
      const endsAt = this.clock.monotonic() + left;
      this.#standing = { value, endsAt, knownAt: this.issuer.asks };
      return value;
    } catch (error) {
      // An assertion is no answer to a caller.
      if (!(error instanceof ServiceError)) throw error;
      const standing = this.#standing && this.issuer.find(this.#standing.value);
      if (standing?.isConfirmedDead || this.issuer.fault === "lost") this.#standing = undefined;
      return undefined;
    }
  }

  #manager(index: number): CredentialManager {
    const manager = this.#managers[index];
    if (!manager) throw new Error("no such node");
    return manager;
  }

  #start(name: string): CredentialManager {
    const { clock } = this;
    const store = this.#wrap(new MemoryCredentialStore(this.#database, name, now, () => clock.now()));
    const changes = this.#isDeaf ? new ManualChanges() : new MemoryChanges(this.#database, name, clock);
    const events = new EventBus();
    return new CredentialManager({
      source: this.issuer,
      probe: this.issuer,
      store,
      pacing: new Pacing({ store: new MemoryPacingStore(this.#database, now), clock, events }),
      memory: new CredentialCache(store, changes, clock),
      clock,
      events,
      holder: crypto.randomUUID(),
    });
  }
}

function follows(broken: StoreFault = {}) {
  const sort = fc.constantFrom<Sort>("stable", "classic", "wecom");
  return fc.asyncProperty(sort, commands, async (sort, sequence) => {
    const reference = new Reference(sort, broken);
    for (const command of sequence) await reference.run(command);
    await reference.heal();
  });
}

test("P2, P4: two nodes follow the reference through 2,000 random sequences", async () => {
  await fc.assert(follows(), { numRuns: 2000 });
});

/** Stores with a fault each, which the reference must notice. */
const withMethods =
  (methods: (store: CredentialStore) => Partial<CredentialStore>) => (store: CredentialStore) =>
    new Proxy(store, {
      get: (target, key) => {
        const found: unknown = Reflect.get(methods(store), key) ?? Reflect.get(target, key);
        return typeof found === "function" ? (found.bind(target) as unknown) : found;
      },
    });

const BROKEN: Readonly<Record<string, StoreFault>> = {
  "forgets to clear": {
    wrap: withMethods((store) => ({ clear: async ([only]) => [await store.find(only!.name)] })),
  },
  "does not notice other nodes": { isDeaf: true },
  "loses what it saved": {
    wrap: withMethods((store) => ({
      save: async (name, credential) => ({ ...(await store.find(name)), credential }),
    })),
  },
  "forgets what was revoked": { wrap: withMethods((store) => ({ markRevoked: (name) => store.find(name) })) },
};
for (const [name, broken] of Object.entries(BROKEN)) {
  test(`control: the reference notices a store that ${name}`, async () => {
    const outcome = await fc.check(follows(broken), { numRuns: 20_000, endOnFailure: true });

    expect(outcome.failed).toBe(true);
  });
}
