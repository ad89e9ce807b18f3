import type { SlotName } from "../../src/apps/slot.ts";
import { UnknownSecrets } from "../../src/apps/unknown-secrets.ts";
import { GuardedSource } from "../../src/credentials/credential-source.ts";
import type { CredentialStore } from "../../src/credentials/credential-store.ts";
import { CredentialManager } from "../../src/credentials/manager.ts";
import { EventBus, type ServiceEvent } from "../../src/events.ts";
import { HandSource } from "../support/hand-source.ts";
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

/** A credential manager on a real database with a source that the test answers by hand. Use it with `using`. */
export class CredentialsWorld {
  readonly clock: PauseClock;
  readonly source: HandSource;
  readonly events: ServiceEvent[] = [];
  readonly store: CredentialStore;
  readonly manager: CredentialManager;

  readonly #folder: StoreFolder;

  private constructor(
    source: HandSource,
    clock: PauseClock,
    folder: StoreFolder,
    store: CredentialStore,
    deadlineMs?: number,
  ) {
    this.source = source;
    this.clock = clock;
    this.#folder = folder;
    this.store = store;
    this.manager = this.#newManager(deadlineMs);
  }

  /** `wrap` may put something between the manager and the database. */
  static async create(
    source = new HandSource(),
    options: { deadlineMs?: number; wrap?: (store: CredentialStore) => CredentialStore } = {},
  ): Promise<CredentialsWorld> {
    const clock = new PauseClock();
    const folder = new StoreFolder(clock);
    const { credentials } = await folder.open();
    const store = options.wrap?.(credentials) ?? credentials;
    return new CredentialsWorld(source, clock, folder, store, options.deadlineMs);
  }

  /** Another manager on the same database: what a restart makes. */
  restarted(): CredentialManager {
    return this.#newManager();
  }

  /** The types of the events so far that concern credentials. */
  told(): string[] {
    return this.events.map(({ type }) => type);
  }

  #newManager(deadlineMs?: number): CredentialManager {
    const events = new EventBus();
    events.subscribe((event) => this.events.push(event));
    const isKnown = async (slot: SlotName) =>
      (await this.store.find({ slot, kind: "access_token" })) !== undefined;
    return new CredentialManager({
      source: new GuardedSource(this.source, new UnknownSecrets(this.clock, isKnown)),
      store: this.store,
      clock: this.clock,
      events,
      ...(deadlineMs === undefined ? {} : { deadlineMs }),
    });
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }
}
