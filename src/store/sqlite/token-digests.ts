import { sql } from "drizzle-orm";
import { HANDOVER_MS } from "../../credentials/asking.ts";
import { credentials } from "./schema.ts";

type Row = typeof credentials.$inferSelect;
type Digests = Partial<Pick<Row, "valueDigest" | "previousDigest" | "previousUntil">>;

/** After a clear: neither the value nor the one before is known again. */
export const NO_DIGESTS = { valueDigest: null, previousDigest: null, previousUntil: null };

/**
 * The digests of a row once a value with `digest` takes the place of what stood in `before`; null for one that must not
 * be known again.
 *
 * On WeChat a living value that is replaced lives on for five minutes. WeCom promises no such thing.
 */
export function digestsAfter(before: Row, digest: string | null, now: number): Digests {
  const { valueDigest: standing, expiresAt, isRejected } = before;
  const isLiving = standing !== null && !isRejected && expiresAt !== null && expiresAt > now;
  if (isLiving && standing !== digest && before.platform === "weixin") {
    const previousUntil = Math.min(now + HANDOVER_MS, expiresAt);
    return { valueDigest: digest, previousDigest: standing, previousUntil };
  }
  // A value that came back must not stay known by its former place when it is rejected later.
  const isBack = digest !== null && before.previousDigest === digest;
  return isBack ? { ...NO_DIGESTS, valueDigest: digest } : { valueDigest: digest };
}

/** The digests of a row without that of a value that is dead, wherever it stood. */
export function digestsWithout(dead: string) {
  return {
    valueDigest: sql`nullif(${credentials.valueDigest}, ${dead})`,
    previousDigest: sql`nullif(${credentials.previousDigest}, ${dead})`,
  };
}
