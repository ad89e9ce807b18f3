/** How long and how often everything is measured. */
export interface Effort {
  /** How often servers that are compared are loaded in turn. */
  readonly pairs: number;
  /** How long each burst of load takes. */
  readonly seconds: number;
  /** How often a program is started. */
  readonly starts: number;
  readonly storms: number;
  /** For how long an idle service is watched. */
  readonly idleSeconds: number;
}

/** What the figures that are published are measured with. */
export const FULL: Effort = { pairs: 5, seconds: 3, starts: 10, storms: 3, idleSeconds: 20 };

/** Shows that everything works, and roughly where the figures are. */
export const QUICK: Effort = { pairs: 2, seconds: 1, starts: 3, storms: 1, idleSeconds: 5 };
