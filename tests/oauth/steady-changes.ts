import type { Changes } from "../../src/changes.ts";

/** A feed in which nothing ever changes. */
export class SteadyChanges implements Changes {
  readonly isLive = true;

  epoch(): number {
    return 0;
  }

  subscribe(): () => void {
    return () => undefined;
  }

  catchUp(): Promise<void> {
    return Promise.resolve();
  }
}
