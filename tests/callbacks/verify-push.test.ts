import { expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  encryptPush,
  generatePushKey,
  type PushKey,
  PushRefused,
  signPush,
} from "../../src/callbacks/push-crypto.ts";
import {
  MAX_PUSH_BYTES,
  type PushMode,
  type PushRequest,
  type PushSettings,
  type VerifiedCheck,
  type VerifiedPush,
  verifyPush,
} from "../../src/callbacks/verify-push.ts";
import { KEYS, type PushVector, vector } from "./push-vectors.ts";

const APP = "wxa000000000000001";
const NOW = 1_790_000_000_000;
const KEY = KEYS.MADE_UP;
const SECURE: PushSettings = { platform: "weixin", mode: "secure", keys: [KEY], receiveIds: [APP] };
const MODES: readonly PushMode[] = ["secure", "compat", "plain"];
const TEXT = vector("characters of several bytes, a split CDATA section").message!;

interface Changes {
  key?: PushKey;
  message?: string;
  receiveId?: string;
  timestamp?: string;
  nonce?: string;
  signature?: string;
  body?: string;
}

/** A request in secure mode, of which every part can be changed. */
function secure({ key = KEY, message = TEXT, receiveId = APP, ...changes }: Changes = {}): PushRequest {
  const { timestamp = "1790000000", nonce = "1000000007" } = changes;
  const encrypted = encryptPush(message, receiveId, key);
  const {
    signature = signPush(key, timestamp, nonce, encrypted),
    body = `<xml><ToUserName><![CDATA[gh_1]]></ToUserName><Encrypt><![CDATA[${encrypted}]]></Encrypt></xml>`,
  } = changes;
  const plain = signPush(key, timestamp, nonce);
  const query = `signature=${plain}&timestamp=${timestamp}&nonce=${nonce}&openid=o1&encrypt_type=aes&msg_signature=${signature}`;
  return { method: "POST", query, body: Buffer.from(body) };
}

/** A request in plain mode. */
function plain(body: string, key = KEY): PushRequest {
  const query = `signature=${signPush(key, "1790000000", "n")}&timestamp=1790000000&nonce=n&openid=o1`;
  return { method: "POST", query, body: Buffer.from(body) };
}

function pushOf(settings: PushSettings, request: PushRequest, now = NOW): VerifiedPush {
  const verified = verifyPush(settings, request, now);
  if (verified.kind !== "push") throw new Error("not a push");
  return verified;
}

function checkOf(settings: PushSettings, query: string, now = NOW): VerifiedCheck {
  const verified = verifyPush(settings, { method: "GET", query, body: new Uint8Array() }, now);
  if (verified.kind !== "check") throw new Error("not a check");
  return verified;
}

function reasonOf(settings: PushSettings, request: PushRequest): string {
  try {
    verifyPush(settings, request, NOW);
  } catch (error) {
    if (error instanceof PushRefused) return error.reason;
    throw error;
  }
  return "none";
}

const textOf = ({ message }: VerifiedPush): string => Buffer.from(message).toString();

function published(name: string, platform: "weixin" | "wecom", body: (encrypted: string) => string) {
  const { key, receiveId, timestamp, nonce, encrypted, msgSignature, signature } = vector(name);
  const settings: PushSettings = { platform, mode: "secure", keys: [key], receiveIds: [receiveId] };
  const first = signature === undefined ? "" : `signature=${signature}&encrypt_type=aes&`;
  const query = `${first}timestamp=${timestamp}&nonce=${nonce}&msg_signature=${msgSignature}`;
  const request: PushRequest = { method: "POST", query, body: Buffer.from(body(encrypted!)) };
  return { settings, request, now: Number(timestamp) * 1000 };
}

const xml = (encrypted: string): string =>
  `<xml><AppId><![CDATA[x]]></AppId>\n<Encrypt><![CDATA[${encrypted}]]></Encrypt></xml>`;
const PUBLISHED = [
  [
    "a mini program's JSON push of WeChat's page",
    "weixin",
    (e: string) => `{"ToUserName":"gh_1","Encrypt":"${e}"}`,
  ],
  ["a component's XML push of WeChat's page", "weixin", xml],
  ["a component_verify_ticket that WeChat sent in 2015", "weixin", xml],
  ["a text message that WeCom sent in 2021", "wecom", xml],
  ["a text message of WeCom's sample programs", "wecom", xml],
  ["a made-up component_verify_ticket", "weixin", xml],
  ["authorized", "weixin", xml],
  ["unauthorized", "weixin", xml],
  ["reset_permanent_code", "wecom", xml],
  ["suite_ticket, a blank before its CDATA section", "wecom", xml],
] as const;

test.each(PUBLISHED)("verifies %s", (name, platform, body) => {
  const { settings, request, now } = published(name, platform, body);
  const verified = pushOf(settings, request, now);
  const { message, receiveId, nonce, timestamp } = vector(name);
  if (message !== undefined) expect(textOf(verified)).toBe(message);
  expect(verified).toMatchObject({
    format: textOf(verified).startsWith("{") ? "json" : "xml",
    receiveId,
    keyIndex: 0,
    nonce,
    timestamp: Number(timestamp),
    isSkewed: false,
    isEncrypted: true,
  });
});

test("trap 27: of a body in compat mode only the encrypted part comes out", () => {
  const clear = "<FromUserName>forged</FromUserName><Content>forged</Content>";
  const name = "a text message of WeChat's sample programs";
  const { settings, request, now } = published(
    name,
    "weixin",
    (encrypted) => `<xml>${clear}<Encrypt>${encrypted}</Encrypt></xml>`,
  );
  const text = textOf(pushOf({ ...settings, mode: "compat" }, request, now));
  expect(text).toContain("abcdteT");
  expect(text).not.toContain("forged");
});

test("of two encrypted parts only the signed one can come out", () => {
  const [signed, other] = [secure(), encryptPush("<xml><A>forged</A></xml>", APP, KEY)];
  const text = Buffer.from(signed.body).toString();
  for (const body of [
    text.replace("</xml>", `<Encrypt>${other}</Encrypt></xml>`),
    text.replace("<xml>", `<xml><Encrypt>${other}</Encrypt>`),
  ]) {
    const request = { ...signed, body: Buffer.from(body) };
    const reason = reasonOf(SECURE, request);
    expect(["none", "wrong_signature"]).toContain(reason);
    if (reason === "none") expect(textOf(pushOf(SECURE, request))).toBe(TEXT);
  }
});

test("a GET check of WeChat is answered with its echostr in every mode, by the signature alone", () => {
  const { key } = vector("the JSON reply of WeChat's page");
  const query =
    "signature=f464b24fc39322e44b38aa78f5edd27bd1441696&timestamp=1714036504&nonce=1514711492&echostr=4375120948345356249";
  for (const mode of MODES) {
    const settings: PushSettings = { platform: "weixin", mode, keys: [key], receiveIds: [APP] };
    expect(checkOf(settings, query).echo).toBe("4375120948345356249");
    expect(
      reasonOf(settings, { method: "GET", query: query.replace("f464", "f465"), body: new Uint8Array() }),
    ).toBe("wrong_signature");
  }
});

function checkQueryOf(
  { encrypted, timestamp, nonce, msgSignature }: PushVector,
  encode: (text: string) => string = encodeURIComponent,
): string {
  return `msg_signature=${msgSignature}&timestamp=${timestamp}&nonce=${nonce}&echostr=${encode(encrypted!)}`;
}

test.each([
  "the GET check that WeCom sent in 2021",
  "the GET check of WeCom's sample programs",
  "the GET check of WeCom's test tool",
  "a GET check that names the provider",
])("%s is answered with the decrypted text, however its plus signs came", (name) => {
  const check = vector(name);
  const settings: PushSettings = {
    platform: "wecom",
    mode: "secure",
    keys: [check.key],
    receiveIds: [check.receiveId],
  };
  for (const encode of [encodeURIComponent, String, (text: string) => text.replaceAll("+", "%20")])
    expect(checkOf(settings, checkQueryOf(check, encode)).echo).toBe(check.message!);
});

test("trap 5: a suite's check names the provider and its pushes name the suite, and neither passes for the other", () => {
  const check = vector("a GET check that names the provider");
  const suite: PushSettings = {
    platform: "wecom",
    mode: "secure",
    keys: [KEY],
    receiveIds: ["ww5000000000000001"],
    checkReceiveIds: ["wwprovider00000001"],
  };
  expect(checkOf(suite, checkQueryOf(check)).echo).toBe(check.message!);
  expect(pushOf(suite, secure({ receiveId: "ww5000000000000001" })).receiveId).toBe("ww5000000000000001");
  expect(reasonOf(suite, secure({ receiveId: "wwprovider00000001" }))).toBe("wrong_receive_id");
  const { checkReceiveIds: _, ...others } = suite;
  expect(reasonOf(others, { method: "GET", query: checkQueryOf(check), body: new Uint8Array() })).toBe(
    "wrong_receive_id",
  );
});

test("WeChat's echostr is answered to the letter", () => {
  const query = `signature=${signPush(KEY, "1", "n")}&timestamp=1&nonce=n&echostr=`;
  for (const [sent, echo] of [
    ["a+b/c==", "a+b/c=="],
    ["a%2Bb%2Fc%3D%3D", "a+b/c=="],
    ["a%20b", "a b"],
  ] as const)
    expect(checkOf(SECURE, query + sent).echo).toBe(echo);
});

test("an echostr that is more than one short line is not repeated to anybody", () => {
  const query = `signature=${signPush(KEY, "1", "n")}&timestamp=1&nonce=n&echostr=`;
  for (const echostr of ["", "a%0Ab", "a%00", "%E4%BD%A0", "a".repeat(1025)])
    expect(reasonOf(SECURE, { method: "GET", query: query + echostr, body: new Uint8Array() })).toBe(
      "bad_query",
    );
});

test("with a previous key a push of either is verified, and the answer says which", () => {
  const previous = generatePushKey();
  const settings = { ...SECURE, keys: [KEY, previous] };
  expect(pushOf(settings, secure())).toMatchObject({ keyIndex: 0, key: KEY });
  expect(pushOf(settings, secure({ key: previous }))).toMatchObject({ keyIndex: 1, key: previous });
  expect(reasonOf(SECURE, secure({ key: previous }))).toBe("wrong_signature");
});

test("while only the EncodingAESKey changes, both keys have the same Token, and the one that decrypts counts", () => {
  const previous = { ...generatePushKey(), token: KEY.token };
  const settings = { ...SECURE, keys: [KEY, previous] };
  expect(pushOf(settings, secure({ key: previous })).keyIndex).toBe(1);
  expect(pushOf(settings, secure()).keyIndex).toBe(0);
  expect(reasonOf(SECURE, secure({ key: previous }))).toBe("undecryptable");
});

const SIGNATURE_ALONE = plain(TEXT);
const REFUSED: [what: string, settings: PushSettings, request: PushRequest, reason: string][] = [
  ["a signature with a wrong digit", SECURE, secure({ signature: "0".repeat(40) }), "wrong_signature"],
  [
    "trap 1: the signature of timestamp and nonce in place of the body's",
    SECURE,
    secure({ signature: signPush(KEY, "1790000000", "1000000007") }),
    "wrong_signature",
  ],
  [
    "another body under a right signature",
    SECURE,
    { ...secure(), body: secure({ message: "<xml><A>1</A></xml>" }).body },
    "wrong_signature",
  ],
  ["trap 7: a push for another app", SECURE, secure({ receiveId: "wxa000000000000002" }), "wrong_receive_id"],
  ["a push for nobody", SECURE, secure({ receiveId: "" }), "wrong_receive_id"],
  [
    "any push where nobody is accepted",
    { ...SECURE, receiveIds: [] },
    secure({ receiveId: "" }),
    "wrong_receive_id",
  ],
  ["a plain push at a secure endpoint", SECURE, SIGNATURE_ALONE, "not_encrypted"],
  [
    "a plain push at an endpoint in compat mode",
    { ...SECURE, mode: "compat" },
    SIGNATURE_ALONE,
    "not_encrypted",
  ],
  [
    "a plain push at WeCom's, whatever its mode",
    { ...SECURE, platform: "wecom", mode: "plain" },
    SIGNATURE_ALONE,
    "not_encrypted",
  ],
  [
    "a clear body under a query that says that it is encrypted",
    SECURE,
    secure({ body: TEXT }),
    "not_encrypted",
  ],
  [
    "an encrypted body without msg_signature",
    SECURE,
    { ...secure(), query: SIGNATURE_ALONE.query },
    "not_encrypted",
  ],
  [
    "a plain body with a wrong signature",
    { ...SECURE, mode: "plain" },
    plain(TEXT, generatePushKey()),
    "wrong_signature",
  ],
  ["a plain body that is no message", { ...SECURE, mode: "plain" }, plain("success"), "malformed"],
  [
    "a document type",
    SECURE,
    secure({
      body: `<!DOCTYPE xml [<!ENTITY e SYSTEM "file:///etc/passwd">]><xml><Encrypt>&e;</Encrypt></xml>`,
    }),
    "malformed",
  ],
  ["an empty body", SECURE, secure({ body: "" }), "malformed"],
  ["1 MiB of blanks", SECURE, secure({ body: " ".repeat(MAX_PUSH_BYTES) }), "malformed"],
  ["one byte more than 1 MiB", SECURE, secure({ body: " ".repeat(MAX_PUSH_BYTES + 1) }), "too_large"],
  ["a timestamp that is no number", SECURE, secure({ timestamp: "1e9" }), "bad_query"],
  ["an empty nonce", SECURE, secure({ nonce: "" }), "bad_query"],
  ["an endless nonce", SECURE, secure({ nonce: "1".repeat(129) }), "bad_query"],
  [
    "an endless query",
    SECURE,
    { ...secure(), query: `${secure().query}&x=${"x".repeat(9000)}` },
    "bad_query",
  ],
  ["no query", SECURE, { ...secure(), query: "" }, "bad_query"],
  ...["signature", "msg_signature", "timestamp", "nonce", "encrypt_type", "%6Eonce"].map(
    (name): [string, PushSettings, PushRequest, string] => [
      `the parameter ${name} twice`,
      SECURE,
      { ...secure(), query: `${secure().query}&${name}=1` },
      "bad_query",
    ],
  ),
];

test.each(REFUSED)("refuses %s", (_, settings, request, reason) => {
  expect(reasonOf(settings, request)).toBe(reason);
});

test("in plain mode the body itself is the message, and is marked as not encrypted", () => {
  const settings: PushSettings = { ...SECURE, mode: "plain", keys: [{ token: KEY.token }] };
  const verified = pushOf(settings, plain(TEXT));
  expect(textOf(verified)).toBe(TEXT);
  expect(verified).toMatchObject({ isEncrypted: false, receiveId: APP, format: "xml" });
  expect(pushOf(settings, plain('{"MsgId":1}')).format).toBe("json");
});

test("an endpoint in plain mode verifies an encrypted push as one, and refuses it without the key", () => {
  const settings: PushSettings = { ...SECURE, mode: "plain" };
  expect(pushOf(settings, secure())).toMatchObject({ isEncrypted: true, receiveId: APP });
  expect(reasonOf(settings, secure({ signature: "0".repeat(40) }))).toBe("wrong_signature");
  expect(reasonOf({ ...settings, keys: [{ token: KEY.token }] }, secure())).toBe("undecryptable");
});

test("trap 17: a timestamp that is far off is reported, not refused", () => {
  for (const [seconds, isSkewed] of [
    [0, false],
    [300, false],
    [-300, false],
    [301, true],
    [-301, true],
    [9e8, true],
  ] as const) {
    expect(pushOf(SECURE, secure(), NOW + seconds * 1000).isSkewed).toBe(isSkewed);
  }
});

test("a signed message that nobody can read is verified nevertheless: it is WeChat's", () => {
  for (const message of ["<xml", "", "\u0000", "{", "<!DOCTYPE a><xml/>"])
    expect(textOf(pushOf(SECURE, secure({ message })))).toBe(message);
});

const NAMES = ["signature", "msg_signature", "timestamp", "nonce", "echostr", "encrypt_type", "openid", "x"];
const PIECES = [
  "<xml>",
  "</xml>",
  "<Encrypt>",
  "</Encrypt>",
  "<![CDATA[",
  "]]>",
  "<!DOCTYPE",
  "<!ENTITY",
  "&",
  "&#",
  ";",
  "<",
  ">",
  "/",
  '{"Encrypt":"',
  '"}',
  "{",
  "}",
  "[",
  '"',
  "\\u",
  "MsgId",
  "1790000000",
  "=",
  "+",
  "%",
  "%00",
  "&nonce=",
  "\u0000",
  "你",
  "\uD800",
];

test("10,000 made-up queries and bodies are refused, and nothing else is thrown", () => {
  const { body, query } = secure();
  const value = fc.oneof(
    fc.constantFrom("", "1790000000", "aes", "1000000007", signPush(KEY, "1790000000", "n"), "0".repeat(40)),
    fc.string({ unit: "binary", maxLength: 50 }),
  );
  const pairs = fc.array(fc.tuple(fc.constantFrom(...NAMES), value), { maxLength: 9 });
  const queries = fc.oneof(
    pairs.map((all) => all.map(([name, text]) => `${name}=${text}`).join("&")),
    fc.string({ unit: "binary", maxLength: 80 }),
    fc.constant(query),
    fc
      .tuple(fc.nat(query.length), fc.string({ maxLength: 2 }))
      .map(([at, text]) => query.slice(0, at) + text + query.slice(at + 1)),
  );
  const bodies = fc.oneof(
    fc.array(fc.constantFrom(...PIECES), { maxLength: 20 }).map((all) => Buffer.from(all.join(""))),
    fc.uint8Array({ maxLength: 200 }),
    fc.constant(new Uint8Array(body)),
    fc
      .tuple(fc.nat(body.length - 1), fc.nat(255))
      .map(([at, byte]) => Uint8Array.from(body).fill(byte, at, at + 1)),
  );
  const settings = fc.record({
    platform: fc.constantFrom("weixin" as const, "wecom" as const),
    mode: fc.constantFrom(...MODES),
    keys: fc.constantFrom([], [KEY], [KEY, generatePushKey()], [{ token: KEY.token }]),
    receiveIds: fc.constantFrom([], [APP], [""]),
  });
  let verified = 0;
  fc.assert(
    fc.property(
      settings,
      fc.constantFrom("GET" as const, "POST" as const),
      queries,
      bodies,
      (accepted, method, text, bytes) => {
        try {
          const found = verifyPush(accepted, { method, query: text, body: bytes }, NOW);
          verified += 1;
          // What passes has passed by a signature with the one Token that anything here is signed with.
          const parameters = new URLSearchParams(text.replaceAll("+", "%2B"));
          const signed = [parameters.get("timestamp") ?? "", parameters.get("nonce") ?? ""];
          expect(found.key.token.equals(KEY.token)).toBe(true);
          if (found.kind === "push" && found.isEncrypted) expect(textOf(found)).toBe(TEXT);
          else expect(parameters.get("signature")).toBe(signPush(KEY, ...signed));
          if (found.kind === "push" && !found.isEncrypted)
            expect(accepted).toMatchObject({ platform: "weixin", mode: "plain" });
        } catch (error) {
          if (!(error instanceof PushRefused)) throw error;
        }
      },
    ),
    { seed: 15, numRuns: 10_000 },
  );
  // The real request is among them, so the ways to the end are tried too.
  expect(verified).toBeGreaterThan(20);
});

test("no request with one byte of its query's values or its Encrypt changed is verified", () => {
  const request = secure();
  const text = Buffer.from(request.body).toString();
  const start = text.indexOf("<Encrypt>") + "<Encrypt><![CDATA[".length;
  const end = text.indexOf("]]>", start);
  for (let at = start; at < end; at += 1) {
    const body = Buffer.from(request.body);
    body[at] = (body[at] ?? 0) ^ 1;
    expect(reasonOf(SECURE, { ...request, body })).not.toBe("none");
  }
  for (const name of ["timestamp", "nonce", "msg_signature"]) {
    const from = request.query.indexOf(`&${name}=`) + name.length + 2;
    for (let at = from; at < from + 10; at += 1) {
      const changed = request.query[at] === "1" ? "2" : "1";
      const query = request.query.slice(0, at) + changed + request.query.slice(at + 1);
      expect(reasonOf(SECURE, { ...request, query })).toBe("wrong_signature");
    }
  }
});
