import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import type { IssuedCredential } from "../credentials/credential.ts";
import type { Platform } from "../errors.ts";
import { Secret } from "../secret.ts";
import { unusableAnswer } from "./http-client.ts";

/** Printable, without blanks, and no longer than what storage is told to reserve, with room to spare. */
const ISSUED_VALUE = Type.String({ minLength: 16, maxLength: 2048, pattern: "^[\\x21-\\x7e]+$" });
/** Seconds. Theirs are at most 7200; a day is sane, a year is a fault. */
const EXPIRES_IN = Type.Integer({ minimum: 1, maximum: 86_400 });

const SHAPES = {
  access_token: Type.Object({ access_token: ISSUED_VALUE, expires_in: EXPIRES_IN }),
  ticket: Type.Object({ ticket: ISSUED_VALUE, expires_in: EXPIRES_IN }),
};

/**
 * The credential in an answer, or `upstream_invalid`: an answer without errcode is not yet a token.
 *
 * `expires_in` is in seconds there and in milliseconds here.
 */
export function readIssued(
  platform: Platform,
  field: keyof typeof SHAPES,
  answer: Record<string, unknown>,
): IssuedCredential {
  if (!Value.Check(SHAPES[field], answer)) throw unusableAnswer(platform);
  const { [field]: value, expires_in: seconds } = answer as Record<typeof field, string> & {
    expires_in: number;
  };
  return { value: new Secret(value), lifeMs: seconds * 1000 };
}
