const PERCENT = 0x25;
const BACKSLASH = 0x5c;
/** What JSON escapes by a backslash before it. */
const ESCAPED_ALONE: ReadonlySet<number> = new Set(Buffer.from('"\\/'));
const UNICODE_ESCAPE = Buffer.from("\\u00");
const PERCENT_ESCAPE = Buffer.from("%");

/** Instead of where a token ends: the bytes end before that can be known, or it is none. The greater one is decisive. */
const CUT_OFF = -1;
const NO_TOKEN = -2;

/**
 * Replaces one token by another in what an answer consists of.
 *
 * It is found in every spelling: as it is, with any of its characters escaped as in JSON or percent-encoded, in any case
 * of the digits. Everything else stays as it is, byte for byte, whatever its charset.
 */
export class TokenRedaction {
  readonly #from: Buffer;
  readonly #to: Buffer;

  /** Both tokens are printable ASCII. */
  constructor(from: string, to: string) {
    this.#from = Buffer.from(from);
    this.#to = Buffer.from(to);
  }

  /** A copy of `headers`, redacted. */
  headers(headers: Headers): Headers {
    return new Headers([...headers].map(([name, value]): [string, string] => [name, this.#text(value)]));
  }

  /** A whole body, redacted; the same object where there is nothing to redact. */
  bytes(bytes: Uint8Array): Uint8Array {
    return this.#redact(bytes, true).redacted;
  }

  /** A body that comes in parts, redacted. The end of a part waits for the next part where it may begin the token. */
  stream(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    const reader = body.getReader();
    let undecided: Uint8Array = new Uint8Array();
    const next = async () => {
      for (;;) {
        const { value = new Uint8Array(), done } = await reader.read();
        const bytes = undecided.length === 0 ? value : Buffer.concat([undecided, value]);
        const { redacted, rest } = this.#redact(bytes, done);
        undecided = rest;
        if (done || redacted.length > 0) return { redacted, done };
      }
    };
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          const { redacted, done } = await next();
          if (redacted.length > 0) controller.enqueue(redacted);
          if (done) controller.close();
        },
        cancel: (reason) => reader.cancel(reason),
      },
      { highWaterMark: 0 },
    );
  }

  #text(text: string): string {
    if (text.length < this.#from.length) return text;
    return Buffer.from(this.bytes(Buffer.from(text, "latin1"))).toString("latin1");
  }

  /** `bytes` redacted as far as is decided without those that follow, unless none do; and the rest of them. */
  #redact(bytes: Uint8Array, isEnd: boolean): { readonly redacted: Uint8Array; readonly rest: Uint8Array } {
    const first = this.#from[0] ?? 0;
    const parts: Uint8Array[] = [];
    let decided = 0;
    let end = bytes.length;
    for (let at = this.#firstCandidate(bytes); ; at++) {
      at = nextOf(bytes, at, first);
      if (at >= end) break;
      const tokenEnd = this.#endOf(bytes, at, 0);
      if (tokenEnd === CUT_OFF && !isEnd) end = at;
      if (tokenEnd < 0) continue;
      parts.push(bytes.subarray(decided, at), this.#to);
      decided = tokenEnd;
      at = tokenEnd - 1;
    }
    const left = decided === 0 && end === bytes.length ? bytes : bytes.subarray(decided, end);
    return {
      redacted: parts.length === 0 ? left : Buffer.concat([...parts, left]),
      rest: bytes.subarray(end),
    };
  }

  /** Where to begin to look at each byte. Where nothing is escaped, that is a token's plain text, or the end. */
  #firstCandidate(bytes: Uint8Array): number {
    if (bytes.includes(PERCENT) || bytes.includes(BACKSLASH)) return 0;
    const plain = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).indexOf(this.#from);
    return plain >= 0 ? plain : Math.max(0, bytes.length - this.#from.length + 1);
  }

  /** Where the token ends whose character number `index` begins at `start`. */
  #endOf(bytes: Uint8Array, start: number, index: number): number {
    let at = start;
    for (let n = index; n < this.#from.length; n++) {
      const char = this.#from[n] ?? 0;
      const escapeEnd = endOfEscape(bytes, at, char);
      if (bytes[at] === char && escapeEnd !== NO_TOKEN) {
        // A percent sign or a backslash that the token itself has: as it is, or the beginning of its escape.
        const escaped = escapeEnd < 0 ? escapeEnd : this.#endOf(bytes, escapeEnd, n + 1);
        return Math.max(escaped, this.#endOf(bytes, at + 1, n + 1));
      }
      if (bytes[at] === char) at += 1;
      else if (escapeEnd < 0) return escapeEnd;
      else at = escapeEnd;
    }
    return at;
  }
}

/** Where the next byte is at or behind `start` that may begin a token whose first character is `first`. */
function nextOf(bytes: Uint8Array, start: number, first: number): number {
  let at = start;
  for (; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === first || byte === PERCENT || byte === BACKSLASH) break;
  }
  return at;
}

/** Where the escape for `char` ends that begins at `at`. */
function endOfEscape(bytes: Uint8Array, at: number, char: number): number {
  if (at === bytes.length) return CUT_OFF;
  if (bytes[at] === PERCENT) return endOfHex(bytes, at, PERCENT_ESCAPE, char);
  if (bytes[at] !== BACKSLASH) return NO_TOKEN;
  if (ESCAPED_ALONE.has(char) && bytes[at + 1] === char) return at + 2;
  return endOfHex(bytes, at, UNICODE_ESCAPE, char);
}

/** The same for the escape that consists of `prefix` and two hexadecimal digits. */
function endOfHex(bytes: Uint8Array, start: number, prefix: Uint8Array, char: number): number {
  let at = start;
  for (const expected of prefix) {
    if (at === bytes.length) return CUT_OFF;
    if (bytes[at++] !== expected) return NO_TOKEN;
  }
  for (const digit of [char >> 4, char & 0xf]) {
    if (at === bytes.length) return CUT_OFF;
    if (HEX_DIGITS[bytes[at++] ?? 0] !== digit) return NO_TOKEN;
  }
  return at;
}

/** The value of each byte as a hexadecimal digit; undefined for one that is none. */
const HEX_DIGITS: readonly (number | undefined)[] = Array.from({ length: 256 }, (_, byte) => {
  const digit = String.fromCharCode(byte);
  return /[0-9A-Fa-f]/.test(digit) ? Number.parseInt(digit, 16) : undefined;
});
