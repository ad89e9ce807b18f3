import { type Changes, Mirror } from "../changes.ts";
import type { AppCallbacks, CallbackSettingsStore } from "./callback-settings.ts";

/**
 * The callback settings of every app in this process's memory.
 *
 * They are reread when they have changed: at once after a change by this process, within 250 ms after one by another.
 * While the store can't be read, the last copy stays in use.
 */
export class CallbackDirectory {
  readonly #mirror: Mirror;
  #apps: ReadonlyMap<string, AppCallbacks> = new Map();
  #damaged: ReadonlySet<string> = new Set();

  constructor(store: Pick<CallbackSettingsStore, "load">, changes: Changes) {
    this.#mirror = new Mirror(changes, "callbacks", async (epoch) => {
      // At epoch 0 nothing was ever set.
      if (epoch === 0) return;
      const { apps, damaged } = await store.load();
      this.#apps = new Map(apps.map((each) => [each.settings.app, each]));
      this.#damaged = new Set(damaged);
    });
  }

  /** All that is set of an app's pushes; undefined for none, and where its secrets can't be opened. */
  of(app: string): AppCallbacks | undefined {
    return this.#apps.get(app);
  }

  /** Whether an app has settings whose secrets can't be opened: they have to be set again. */
  isDamaged(app: string): boolean {
    return this.#damaged.has(app);
  }

  /** The public names of the apps with settings, damaged ones too, sorted. */
  names(): string[] {
    return [...this.#apps.keys(), ...this.#damaged].toSorted();
  }

  /** Rereads everything if something has changed. Throws what the store throws; then the last copy stays in use. */
  refresh(): Promise<void> {
    return this.#mirror.refresh();
  }

  /** Begins to follow changes of other processes. */
  start(): void {
    this.#mirror.start();
  }

  stop(): void {
    this.#mirror.stop();
  }
}
