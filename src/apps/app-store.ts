import type { App } from "./app.ts";

/** Where the apps whose secrets we hold are kept, their secrets sealed. */
export interface AppStore {
  /** Every app, in no particular order. Throws `store_unusable` when a secret can't be opened. */
  list(): Promise<App[]>;
  /**
   * Makes the stored apps equal to `apps`, in one transaction.
   *
   * The environment is the one source of apps for now. An app that it no longer names is forgotten; one that did
   * not change is not written. What was issued to a secret that is no longer the app's is forgotten with it: the new
   * secret may belong to another application.
   */
  replaceAll(apps: readonly App[]): Promise<void>;
}
