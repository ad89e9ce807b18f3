import { expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  decryptPush,
  generatePushKey,
  type PushKey,
  PushRefused,
  signPush,
} from "../../src/callbacks/push-crypto.ts";
import { type PushFormat, readPushFields } from "../../src/callbacks/push-fields.ts";
import {
  answerOf,
  checkQuery,
  encryptedCopy,
  encryptReply,
  SUCCESS,
  withQuery,
} from "../../src/callbacks/push-reply.ts";
import { type VerifiedPush, verifyPush } from "../../src/callbacks/verify-push.ts";
import { KEYS, vector } from "./push-vectors.ts";

const APP = "wxa000000000000001";
const NOW = 1_790_000_000_000;
const TARGET = generatePushKey();
const USERS = "<ToUserName><![CDATA[o1]]></ToUserName><FromUserName><![CDATA[gh_1]]></FromUserName>";
const REPLY = `<xml>${USERS}<CreateTime>1790000000</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[你好]]></Content></xml>`;
const JSON_REPLY =
  '{"ToUserName":"o1","FromUserName":"gh_1","CreateTime":1790000000,"MsgType":"transfer_customer_service"}';
const EVENT = "<xml><MsgType>event</MsgType><Event>CLICK</Event></xml>";

function push(changes: Partial<VerifiedPush> = {}): VerifiedPush {
  return {
    kind: "push",
    message: Buffer.from(vector("characters of several bytes, a split CDATA section").message!),
    format: "xml",
    key: KEYS.MADE_UP,
    keyIndex: 0,
    isEncrypted: true,
    receiveId: APP,
    nonce: "415670741",
    timestamp: 1_790_000_000,
    isSkewed: false,
    ...changes,
  };
}

const answerTo = (pushed: VerifiedPush, body: string, key: PushKey = pushed.key) =>
  answerOf(pushed, Buffer.from(body), key, NOW + 2000);
const textOf = (body: Uint8Array | undefined): string => Buffer.from(body ?? "").toString();

/** A reply as the target encrypts it. */
function sealed(
  message: string,
  key: PushKey,
  { format = "xml", receiveId = APP }: { format?: PushFormat; receiveId?: string } = {},
): string {
  return textOf(encryptReply({ key, nonce: "77", receiveId, format }, message, NOW).body);
}

/** The message in an encrypted answer, checked as WeChat would. */
function opened(body: Uint8Array | undefined, { key, receiveId, nonce }: VerifiedPush): string {
  const { fields } = readPushFields(body ?? new Uint8Array());
  const encrypted = fields.get("Encrypt") ?? "";
  expect(fields.get("Nonce")).toBe(nonce);
  expect(fields.get("MsgSignature")).toBe(signPush(key, fields.get("TimeStamp") ?? "", nonce, encrypted));
  const plain = decryptPush(encrypted, key);
  expect(plain.receiveId).toBe(receiveId);
  return textOf(plain.message);
}

test.each([
  ["the JSON reply of WeChat's page", "json"],
  ["the XML reply of WeChat's page", "xml"],
] as const)("%s is encrypted as WeChat's page shows it", (name, format) => {
  const { key, receiveId, message, random, encrypted, timestamp, nonce, msgSignature } = vector(name);
  const pushed = { key, nonce: nonce!, receiveId, format };
  const answer = encryptReply(pushed, message!, Number(timestamp) * 1000, Buffer.from(random!));
  const body = textOf(answer.body);
  expect(Object.fromEntries(readPushFields(answer.body).fields)).toEqual({
    Encrypt: encrypted!,
    MsgSignature: msgSignature!,
    TimeStamp: timestamp!,
    Nonce: nonce!,
  });
  if (format === "json")
    expect(JSON.parse(body)).toMatchObject({ TimeStamp: 1713424427, Nonce: "415670741" });
  else expect(body).toStartWith("<xml><Encrypt><![CDATA[");
});

test("success and an empty body are answered as success, to the letter", () => {
  for (const pushed of [push(), push({ isEncrypted: false })])
    for (const body of ["success", "", "success\n", "\uFEFFsuccess", " \r\n"]) {
      expect(answerTo(pushed, body)).toBe(SUCCESS);
      expect(textOf(SUCCESS.body)).toBe("success");
    }
});

test("a reply that is encrypted with the push's own key goes back unchanged", () => {
  const body = sealed(REPLY, KEYS.MADE_UP);
  expect(answerTo(push(), body)).toEqual({
    isReply: true,
    body: Buffer.from(body),
    contentType: "text/xml; charset=utf-8",
  });
  const json = push({ format: "json" });
  const other = sealed(JSON_REPLY, KEYS.MADE_UP, { format: "json" });
  expect(answerTo(json, other)).toMatchObject({
    body: Buffer.from(other),
    contentType: "application/json; charset=utf-8",
  });
});

test("a reply under the target's own key is encrypted again with the push's key and nonce", () => {
  for (const format of ["xml", "json"] as const) {
    const pushed = push({ format });
    const reply = format === "xml" ? REPLY : JSON_REPLY;
    const answer = answerTo(pushed, sealed(reply, TARGET, { format }), TARGET);
    expect(answer?.isReply).toBe(true);
    expect(opened(answer?.body, pushed)).toBe(reply);
  }
});

test("a reply in clear to an encrypted push is encrypted, to a plain push it goes back unchanged", () => {
  expect(opened(answerTo(push(), REPLY)?.body, push())).toBe(REPLY);
  const plain = push({ isEncrypted: false, key: { token: KEYS.MADE_UP.token } });
  expect(textOf(answerTo(plain, REPLY)?.body)).toBe(REPLY);
  expect(textOf(answerTo(plain, sealed(REPLY, TARGET), TARGET)?.body)).toBe(REPLY);
});

test("an encrypted reply that WeChat would not take as it is, is made again", () => {
  const small = sealed(JSON_REPLY, KEYS.MADE_UP, { format: "json" }).replaceAll(/"\w+":/g, (name) =>
    name.toLowerCase(),
  );
  const json = push({ format: "json" });
  expect(opened(answerTo(json, small)?.body, json)).toBe(JSON_REPLY);
  expect(opened(answerTo(push(), sealed(REPLY, KEYS.MADE_UP, { receiveId: "wx0" }))?.body, push())).toBe(
    REPLY,
  );
});

test("a reply under another Token of the same EncodingAESKey is signed again", () => {
  const key = { ...TARGET, encodingAesKey: KEYS.MADE_UP.encodingAesKey };
  expect(opened(answerTo(push(), sealed(REPLY, key), key)?.body, push())).toBe(REPLY);
});

test("an encrypted success is success", () => {
  expect(answerTo(push(), sealed("success", TARGET), TARGET)).toBe(SUCCESS);
});

test.each([
  ["a web page", "<html><body>502 Bad Gateway</body></html>"],
  ["a word", "ok"],
  ["a framework's JSON", '{"code":0,"msg":"success"}'],
  ["JSON to a push in XML", JSON_REPLY],
  ["a reply without its type", REPLY.replace(/<MsgType>.*<\/MsgType>/, "")],
  ["a reply to nobody", REPLY.replace("o1", "")],
  ["a reply that is cut", REPLY.slice(0, -3)],
  ["a reply with an entity of its own", `<!DOCTYPE xml [<!ENTITY e "x">]>${REPLY}`],
  ["a reply that is encrypted with another key", sealed(REPLY, generatePushKey())],
  ["a signed encryption of no reply", sealed("<xml><a>1</a></xml>", KEYS.MADE_UP)],
  ["a signed encryption of JSON", sealed(JSON_REPLY, KEYS.MADE_UP)],
  ["a signature over something else", sealed(REPLY, KEYS.MADE_UP).replace("<TimeStamp>1", "<TimeStamp>2")],
])("%s is no answer", (_, body) => {
  expect(answerTo(push(), body)).toBeUndefined();
});

test("an event may be answered in WeChat's own names, and not in a framework's", () => {
  const event = push({
    format: "json",
    message: Buffer.from('{"MsgType":"event","Event":"xpay_goods_deliver_notify"}'),
  });
  expect(opened(answerTo(event, '{"ErrCode":0,"ErrMsg":"success"}')?.body, event)).toBe(
    '{"ErrCode":0,"ErrMsg":"success"}',
  );
  for (const body of ['{"code":0,"msg":"ok"}', '{"Message":"An error has occurred."}', "{}"])
    expect(answerTo(event, body)).toBeUndefined();
  const inXml = push({ message: Buffer.from(EVENT) });
  expect(answerTo(inXml, "<xml><ErrCode>0</ErrCode></xml>")?.isReply).toBe(true);
  expect(answerTo(push(), "<xml><ErrCode>0</ErrCode></xml>")).toBeUndefined();
});

const COPIES = [
  [
    "weixin",
    "characters of several bytes, a split CDATA section",
    "<xml><ToUserName><![CDATA[gh_000000000001]]>",
  ],
  ["weixin", "authorized", "<xml><AppId><![CDATA[wxc000000000000001]]>"],
  ["weixin", "a mini program's JSON push of WeChat's page", '{"ToUserName":"gh_97417a04a28d","Encrypt":"'],
  ["wecom", "a text message that WeCom sent in 2021", "<xml><ToUserName><![CDATA[wwedab3d5fc43636d8]]>"],
  [
    "wecom",
    "suite_ticket, a blank before its CDATA section",
    "<xml><ToUserName><![CDATA[ww5000000000000001]]>",
  ],
] as const;

test.each(COPIES)(
  "a copy for a target at %s of %s is a push that the target verifies with its own key",
  (platform, name, start) => {
    const { message, receiveId } = vector(name);
    const format = message!.startsWith("{") ? "json" : "xml";
    const copy = encryptedCopy(platform, { message: Buffer.from(message!), format, receiveId }, TARGET, NOW);
    expect(copy.body).toStartWith(start);
    const request = { method: "POST", query: copy.query, body: Buffer.from(copy.body) } as const;
    const settings = { platform, mode: "secure", keys: [TARGET], receiveIds: [receiveId] } as const;
    const verified = verifyPush(settings, request, NOW);
    expect(verified).toMatchObject({ kind: "push", format, receiveId, isSkewed: false });
    expect(textOf((verified as VerifiedPush).message)).toBe(message!);
    expect(() => verifyPush({ ...settings, keys: [KEYS.MADE_UP] }, request, NOW)).toThrow(PushRefused);
    const names = [...new URLSearchParams(copy.query).keys()];
    const openId = name === "authorized" ? [] : ["openid"];
    const all = ["signature", "timestamp", "nonce", ...openId, "encrypt_type", "msg_signature"];
    expect(names).toEqual(platform === "wecom" ? ["msg_signature", "timestamp", "nonce"] : all);
  },
);

test("a copy for WeCom names the agent, has the nonce and the random part that it is given, and else its own", () => {
  const { message, receiveId, random, encrypted, key, nonce, timestamp, msgSignature } = vector(
    "a text message that WeCom sent in 2021",
  );
  const given = { message: Buffer.from(message!), format: "xml", receiveId } as const;
  const now = Number(timestamp) * 1000;
  const same = encryptedCopy("wecom", given, key, now, { nonce, random: Buffer.from(random!) });
  expect(Object.fromEntries(readPushFields(Buffer.from(same.body)).fields)).toEqual({
    ToUserName: receiveId,
    Encrypt: encrypted!,
    AgentID: "1000005",
  });
  expect(new URLSearchParams(same.query).get("msg_signature")).toBe(msgSignature!);
  const queries = [1, 2].map(() => encryptedCopy("wecom", given, key, now).query);
  expect(queries[0]).not.toBe(queries[1]);
});

test("a check as WeChat and WeCom make it is answered with its echo", () => {
  for (const platform of ["weixin", "wecom"] as const) {
    const query = checkQuery(platform, { key: TARGET, receiveId: APP, echo: "4375120948345356249" }, NOW);
    const settings = { platform, mode: "secure", keys: [TARGET], receiveIds: [APP] } as const;
    const check = verifyPush(settings, { method: "GET", query, body: new Uint8Array() }, NOW);
    expect(check).toMatchObject({ kind: "check", echo: "4375120948345356249" });
  }
});

test("a query is appended to a target's own, as it is, and its fragment goes", () => {
  const query = "signature=a&echostr=%2B+x";
  expect(withQuery("https://a.example/wx", query)).toBe(`https://a.example/wx?${query}`);
  expect(withQuery("https://a.example/wx?env=dev#top", query)).toBe(`https://a.example/wx?env=dev&${query}`);
});

test("the key of a target without EncodingAESKey encrypts no copy", () => {
  const key = { token: TARGET.token };
  expect(() => encryptedCopy("weixin", push(), key, NOW)).toThrow(new PushRefused("undecryptable"));
});

test("whatever a target answers, nothing is thrown, and what goes back is success or a reply that WeChat can open", () => {
  const reply = sealed(REPLY, TARGET);
  const pieces = [
    "<xml>",
    "</xml>",
    "<Encrypt>",
    "</Encrypt>",
    "<![CDATA[",
    "]]>",
    "&",
    "{",
    "}",
    '"',
    "success",
    "\n",
    USERS,
  ];
  const answers = fc.oneof(
    fc.array(fc.constantFrom(...pieces), { maxLength: 12 }).map((all) => Buffer.from(all.join(""))),
    fc.uint8Array({ maxLength: 100 }),
    fc
      .tuple(fc.nat(reply.length), fc.string({ maxLength: 2 }))
      .map(([at, text]) => Buffer.from(reply.slice(0, at) + text + reply.slice(at + 1))),
  );
  fc.assert(
    fc.property(answers, fc.constantFrom("xml" as const, "json" as const), (body, format) => {
      const pushed = push({ format });
      const answer = answerOf(pushed, body, TARGET, NOW);
      if (answer?.isReply) expect(opened(answer.body, pushed)).toBe(REPLY);
      else expect([undefined, SUCCESS]).toContain(answer);
    }),
    { seed: 15, numRuns: 5000 },
  );
});
