/** A process that serves from a database of several machines. */
export interface Node {
  /** Of its machine. */
  readonly host: string;
  readonly version: string;
  /** Epoch milliseconds, as the next. */
  readonly startedAt: number;
  /** When it was heard of last. */
  readonly seenAt: number;
  /** By how many milliseconds the database's clock is ahead of its own. */
  readonly offsetMs: number;
  /** Whether it hears of changes by notifications, or has to look for them. */
  readonly isListening: boolean;
}
