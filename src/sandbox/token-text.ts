import { randomBytes } from "node:crypto";

/**
 * A random text of `length` characters from `[A-Za-z0-9_-]`, which is what recorded tokens and tickets consist of
 *.
 */
export function tokenText(length: number): string {
  return randomBytes(Math.ceil((length * 3) / 4))
    .toString("base64url")
    .slice(0, length);
}

/** A token of api.weixin.qq.com: a counter, an underscore and random text, `length` characters in all. */
export function countedTokenText(counter: number, length: number): string {
  const prefix = `${counter}_`;
  return prefix + tokenText(length - prefix.length);
}

/** A token or ticket that people may see: its beginning and its length. */
export function masked(value: string): string {
  return `${value.slice(0, 6)}… (${value.length} characters)`;
}
