import { createHash, randomBytes } from "node:crypto";
import { Secret } from "../secret.ts";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/** The prefix of every key, which scanners for leaked secrets recognize. */
const API_KEY_START = "ats_";
const RANDOM_CHARACTERS = 43;
const CHECK_CHARACTERS = 6;
const PREFIX_LENGTH = API_KEY_START.length + 8;
const SHAPE = /^ats_[0-9A-Za-z]{49}$/;

/** A new key: `ats_`, 256 random bits in 43 base62 characters, and their CRC32 in 6. */
export function createApiKey(): Secret {
  const random = base62(BigInt(`0x${randomBytes(32).toString("hex")}`), RANDOM_CHARACTERS);
  return new Secret(API_KEY_START + random + checksum(random));
}

/** Whether `text` begins like a key. */
export function looksLikeApiKey(text: string): boolean {
  return text.startsWith(API_KEY_START);
}

/** Whether `text` has a key's shape and checksum: typos are detected without a lookup. */
export function isWellFormedApiKey(text: string): boolean {
  if (!SHAPE.test(text)) return false;
  let check = 0;
  for (const character of text.slice(-CHECK_CHARACTERS)) check = check * 62 + ALPHABET.indexOf(character);
  return check === Bun.hash.crc32(text.slice(API_KEY_START.length, -CHECK_CHARACTERS));
}

/** The public prefix of a key, which names it. */
export function apiKeyPrefix(key: Secret): string {
  return key.reveal().slice(0, PREFIX_LENGTH);
}

/** What is stored of a key: its SHA-256, hex. 256 random bits can't be guessed from it. */
export function apiKeyDigest(key: string): string {
  return createHash("sha256").update(key).digest("hex");
}

function checksum(random: string): string {
  return base62(BigInt(Bun.hash.crc32(random)), CHECK_CHARACTERS);
}

function base62(number: bigint, length: number): string {
  let text = "";
  for (let rest = number; text.length < length; rest /= 62n) text = ALPHABET[Number(rest % 62n)] + text;
  return text;
}
