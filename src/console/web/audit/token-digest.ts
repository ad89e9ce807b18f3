/** The name of a token in the audit: the first 16 hex digits of its SHA-256. The token itself goes nowhere. */
export async function tokenDigest(token: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token));
  return new Uint8Array(digest).toHex().slice(0, 16);
}
