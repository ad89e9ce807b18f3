import type { App } from "./app.ts";

/** Where the apps whose secrets we hold are kept, their secrets sealed. */
export interface AppStore {
  /** Every app, in no particular order. Throws `store_unusable` when a secret can't be opened. */
  list(): Promise<App[]>;
  /**
   * Makes the stored apps equal to `apps`, in one transaction.
   *
   * The environment is the one source of apps for now. An app that it no longer names is forgotten; one that did
   * not change is not written. Where a secret changed or an app went, what was issued to the old one is forgotten, because
   * the new one may belong to another application, and the pauses end: what the old one was refused for says nothing.
   */
  replaceAll(apps: readonly App[]): Promise<void>;
}
