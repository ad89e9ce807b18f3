import type { Store } from "../../../src/store/store.ts";
import type { ManualClock } from "../../support/manual-clock.ts";

/** Opens an empty store for one test. */
export type OpenStore = () => Promise<{
  readonly store: Store;
  /** The clock that the store goes by. */
  readonly clock: ManualClock;
  /** Opens what the store keeps once more, beside it: another process's view. */
  readonly beside: () => Promise<Store>;
  /** Closes the store and opens it on what it kept. */
  readonly reopen: () => Promise<Store>;
  /** Lets pass what it takes until `store` knows what others have changed. */
  readonly learn: () => Promise<void>;
  readonly dispose: () => void;
}>;
