import type { Store } from "../../../src/store/store.ts";

/** Opens an empty store for one test. */
export type OpenStore = () => Promise<{
  readonly store: Store;
  /** Closes the store and opens it on what it kept. */
  readonly reopen: () => Promise<Store>;
  readonly dispose: () => void;
}>;
