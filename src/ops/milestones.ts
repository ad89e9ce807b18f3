/** What is done now and then to keep the service alive, and is noted each time. */
export const MILESTONES = [
  /** A backup was made, or could not be. */
  "backup",
  "backup_failed",
  /** A backup was restored on trial. */
  "backup_verified",
  /** The database was put in its place by a restore. */
  "restored",
  /** The master key was exported under a passphrase. */
  "master_key_exported",
  /** The audit's chain was verified. */
  "audit_verified",
] as const;
export type MilestoneName = (typeof MILESTONES)[number];

/** The last time that something was done. */
export interface Milestone {
  /** Epoch milliseconds. */
  readonly at: number;
  /** What there is to say of it; nothing secret. */
  readonly detail: Readonly<Record<string, unknown>>;
}

/**
 * When what keeps the service alive was done last, by any process and by the command line.
 *
 * Each method throws `unavailable` while the database can't be used.
 */
export interface MilestoneStore {
  /** Notes that it was done, unless something later stands there that is not in the future. */
  reach(name: MilestoneName, milestone: Milestone): Promise<void>;
  /** The last time of each that was ever done. */
  list(): Promise<ReadonlyMap<MilestoneName, Milestone>>;
  /**
   * Takes the next round of what is done once in `everyMs` among all processes: 0, or how long it is until the next is due,
   * in milliseconds.
   */
  claim(work: string, everyMs: number): Promise<number>;
}
