import { sql } from "drizzle-orm";
import { credentials } from "./schema.ts";
import { NO_DIGESTS } from "./token-digests.ts";

/** The next generation of a row: who began before it must not write what he has obtained. */
export const RAISED = sql`${credentials.generation} + 1`;

/** A row whose value is gone; what stood before that may still be known. */
export const NO_VALUE = {
  value: null,
  issuedAt: null,
  expiresAt: null,
  renewLeftMs: null,
  isRejected: false,
  valueDigest: null,
};

/** A row after a clear: neither the value nor the one before is known. */
export const CLEARED = { ...NO_VALUE, ...NO_DIGESTS };

/** A clear of a row that is there. */
export const FORGOTTEN = { ...CLEARED, generation: RAISED };
