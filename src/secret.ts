import { createHash, timingSafeEqual } from "node:crypto";

const MASK = "[secret]";

/**
 * A text that must not be shown: an AppSecret, a token, a ticket, a session key.
 *
 * It prints as `[secret]` in a template, in JSON and in an inspection, so that a careless log line shows nothing.
 * `reveal()` is the one way out; look for its callers to see where secrets leave.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The text itself. Call it only where the text goes to WeChat, to an entitled caller or into a cipher. */
  reveal(): string {
    return this.#value;
  }

  /** Whether both hold the same text, in a time that does not depend on where they differ. */
  equals(other: Secret): boolean {
    return timingSafeEqual(sha256(this.#value), sha256(other.#value));
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return MASK;
  }
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
