import type { SlotName } from "../../src/apps/app.ts";
import type { Changes } from "../../src/changes.ts";
import type { CredentialStore } from "../../src/credentials/credential-store.ts";
import { CredentialCache } from "../../src/credentials/credential-cache.ts";
import { type Kinds, KINDS } from "../../src/credentials/kinds.ts";
import { CredentialManager } from "../../src/credentials/manager.ts";
import { Pacing } from "../../src/credentials/pacing.ts";
import type { PacingStore } from "../../src/credentials/pacing-store.ts";
import type { RefreshLog } from "../../src/credentials/refresh-log.ts";
import { EventBus, type ServiceEvent } from "../../src/events.ts";
import { Secret } from "../../src/secret.ts";
import type { Store } from "../../src/store/store.ts";
import { ManualProbe } from "../support/manual-probe.ts";
import { ManualSource } from "../support/manual-source.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { StoreFolder } from "../support/store-folder.ts";

/** A clock that also writes down how long it was asked to sleep. */
export class PauseClock extends ManualClock {
  readonly pauses: number[] = [];

  override async sleep(ms: number): Promise<void> {
    this.pauses.push(ms);
    await super.sleep(ms);
  }
}

/** What a test may put between a manager and the database: some methods, which may pass on to `store`. */
type Wrap = (store: CredentialStore) => Partial<CredentialStore>;

/** What of a world's manager a test may set. */
export interface CredentialsWorldOptions {
  readonly deadlineMs?: number;
  readonly wrap?: Wrap;
  /** As `wrap`, between the pacer and the database. */
  readonly wrapPacing?: (store: PacingStore) => Partial<PacingStore>;
  /** Whether the app was changed by now, as another process sees it. */
  readonly isOutdated?: () => Promise<boolean>;
  /** In the place of the store's own. */
  readonly changes?: Changes;
  readonly kinds?: Kinds;
  /** Notes every attempt; default nobody. */
  readonly log?: RefreshLog;
}

/** What a telling of a credential's fate begins with; how flights and waiters come and go is left out. */
const FATES: ReadonlySet<ServiceEvent["type"]> = new Set([
  "credential.refreshed",
  "credential.accepted",
  "credential.refresh_failed",
  "credential.fenced",
  "credential.cleared",
  "credential.revoked_early",
] as const);

/** A credential manager on a real database with a source and a probe that the test answers. Use it with `using`. */
export class CredentialsHarness {
  readonly clock: PauseClock;
  readonly source: ManualSource;
  readonly probe = new ManualProbe();
  readonly events: ServiceEvent[] = [];
  readonly store: CredentialStore;
  /** What `manager` has in memory. */
  readonly memory: CredentialCache;
  readonly manager: CredentialManager;

  readonly #folder: StoreFolder;
  readonly #kinds: Kinds;
  readonly #all: Store;
  readonly #pacing: PacingStore;
  readonly #isOutdated: (() => Promise<boolean>) | undefined;
  readonly #changes: Changes;
  readonly #log: RefreshLog | undefined;

  private constructor(
    source: ManualSource,
    clock: PauseClock,
    folder: StoreFolder,
    store: Store,
    options: CredentialsWorldOptions,
  ) {
    this.source = source;
    this.clock = clock;
    this.#folder = folder;
    this.#kinds = options.kinds ?? KINDS;
    this.#all = store;
    this.#changes = options.changes ?? store.changes;
    this.store = withMethods(store.credentials, options.wrap?.(store.credentials));
    this.#pacing = withMethods(store.pacing, options.wrapPacing?.(store.pacing));
    this.#isOutdated = options.isOutdated;
    this.#log = options.log;
    this.memory = new CredentialCache(this.store, this.#changes, this.clock);
    this.manager = this.#newManager(options.deadlineMs, this.memory);
  }

  static async create(
    source = new ManualSource(),
    options: CredentialsWorldOptions = {},
  ): Promise<CredentialsHarness> {
    const clock = new PauseClock();
    const folder = new StoreFolder(clock);
    return new CredentialsHarness(source, clock, folder, await folder.open(), options);
  }

  /** Another manager on the same database: what a restart makes, or a second process. */
  restarted(): CredentialManager {
    return this.#newManager();
  }

  /** What another process sees of the credentials: a connection of its own. */
  async elsewhere(): Promise<CredentialStore> {
    return (await this.#folder.open()).credentials;
  }

  /** What another process sees of backoffs and budgets. */
  async pacingElsewhere(): Promise<PacingStore> {
    return (await this.#folder.open()).pacing;
  }

  /** Whether a token with that text still leads to its app, and as what. */
  async knownAs(text: string): Promise<"current" | "rejected" | undefined> {
    const found = await this.#all.issuedTokens.findIssued(new Secret(text), this.clock.now());
    return found && (found.isRejected ? "rejected" : "current");
  }

  /** The types of the events so far that tell what became of credentials. */
  emitted(): string[] {
    return this.events.map(({ type }) => type).filter((type) => FATES.has(type));
  }

  #newManager(
    deadlineMs?: number,
    memory = new CredentialCache(this.store, this.#changes, this.clock),
  ): CredentialManager {
    const events = new EventBus();
    events.subscribe((event) => this.events.push(event));
    const isKnown = async (slot: SlotName) =>
      (await this.store.find({ slot, kind: "access_token" })).wasSaved;
    return new CredentialManager({
      source: this.source,
      store: this.store,
      pacing: new Pacing({
        store: this.#pacing,
        clock: this.clock,
        events,
        isKnown,
        ...(this.#isOutdated ? { isOutdated: this.#isOutdated } : {}),
      }),
      probe: this.probe,
      memory,
      clock: this.clock,
      events,
      holder: crypto.randomUUID(),
      kinds: this.#kinds,
      ...(this.#log ? { log: this.#log } : {}),
      ...(deadlineMs === undefined ? {} : { deadlineMs }),
    });
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }
}

/** The same object with some methods in the place of its own. */
function withMethods<T extends object>(target: T, methods: Partial<T> = {}): T {
  return new Proxy(target, {
    get: (_, key) => {
      const found: unknown = Reflect.get(methods, key) ?? Reflect.get(target, key);
      return typeof found === "function" ? (found.bind(target) as unknown) : found;
    },
  });
}
