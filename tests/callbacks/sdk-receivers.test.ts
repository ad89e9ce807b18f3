import { decrypt, encrypt, getSignature } from "@wecom/crypto";
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { OfficialAccount, ServerRequest, Work } from "node-easywechat";
import wechat from "wechat";
import { decryptPush, encryptPush, generatePushKey, signPush } from "../../src/callbacks/push-crypto.ts";
import { answerOf, checkQuery, encryptedCopy } from "../../src/callbacks/push-reply.ts";
import { type PushRequest, type VerifiedPush, verifyPush } from "../../src/callbacks/verify-push.ts";

const NOW = 1_790_000_000_000;
const KEY = generatePushKey();
const TARGET = generatePushKey();
const APP = "wxa000000000000001";
const CORP = "ww0000000000000001";

/** What a user writes to the app: with characters of several bytes, and a MsgId above 2^53. */
function messageTo(account: string): Buffer {
  return Buffer.from(
    `<xml><ToUserName><![CDATA[${account}]]></ToUserName><FromUserName><![CDATA[oFAKE1]]></FromUserName><CreateTime>1790000000</CreateTime>` +
      `<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[你好 👋]]></Content><MsgId>6972028683187026694</MsgId></xml>`,
  );
}

/** A push that WeChat or WeCom has sent, and its copy for a target with a key of its own. */
function setup(platform: "weixin" | "wecom") {
  const [receiveId, account] = platform === "wecom" ? [CORP, CORP] : [APP, "gh_000000000001"];
  const message = { message: messageTo(account), format: "xml", receiveId } as const;
  const sent = encryptedCopy(platform, message, KEY, NOW, { nonce: "415670741" });
  const settings = { platform, mode: "secure", keys: [KEY], receiveIds: [receiveId] } as const;
  const original: PushRequest = { method: "POST", query: sent.query, body: Buffer.from(sent.body) };
  const push = verifyPush(settings, original, NOW) as VerifiedPush;
  const made = encryptedCopy(platform, push, TARGET, NOW);
  const copy: PushRequest = { method: "POST", query: made.query, body: Buffer.from(made.body) };
  return { receiveId, push, original, copy };
}

/** The reply in the answer, decrypted with the push's key by another program than ours. */
function replyIn(push: VerifiedPush, body: Uint8Array | undefined): string {
  const text = Buffer.from(body ?? "").toString();
  const [encrypted = "", signature = "", timestamp = "", nonce = ""] = [
    "Encrypt",
    "MsgSignature",
    "TimeStamp",
    "Nonce",
  ].map((name) => new RegExp(`<${name}>(?:<!\\[CDATA\\[)?(.*?)(?:\\]\\]>)?</${name}>`).exec(text)?.[1]);
  expect(signature).toBe(getSignature(push.key.token.reveal(), timestamp, nonce, encrypted));
  const { id, message } = decrypt(push.key.encodingAesKey?.reveal() ?? "", encrypted);
  expect(id).toBe(push.receiveId);
  return message;
}

/** A receiver built with `wechat` 2.1.0, with the key that the target holds: its answer to a request. */
function askWechat(key: typeof KEY, { method, query, body }: PushRequest): Promise<string> {
  const config = { token: key.token.reveal(), appid: APP, encodingAESKey: key.encodingAesKey.reveal() };
  return new Promise((resolve, reject) => {
    const response = {
      writeHead: (status: number) => status === 200 || reject(new Error(`${status}`)),
      end: resolve,
    };
    const middleware = wechat(config, ({ weixin: { Content, MsgId, FromUserName } }, response) =>
      response.reply(`${FromUserName}: ${Content} ${MsgId}`),
    );
    middleware(
      { method, query: Object.fromEntries(new URLSearchParams(query)), rawBody: body },
      response,
      reject,
    );
  });
}

/** A receiver built with node-easywechat 3.6.2, as its README shows it. */
async function askEasyWechat(
  Kind: typeof OfficialAccount | typeof Work,
  key: typeof KEY,
  request: PushRequest,
): Promise<string> {
  const secrets = { secret: "s", token: key.token.reveal(), aes_key: key.encodingAesKey.reveal() };
  const app =
    Kind === Work
      ? new Work({ corp_id: CORP, ...secrets })
      : new OfficialAccount({ app_id: APP, ...secrets });
  app.setRequest(new ServerRequest(request.method, `/wx?${request.query}`, {}, Buffer.from(request.body)));
  const server = app.getServer();
  if (request.method === "POST")
    server.with(
      async (message: Record<string, string>) =>
        `${message["FromUserName"]}: ${message["Content"]} ${message["MsgId"]}`,
    );
  const response = await server.serve();
  return response.getBody().toString();
}

const CONTENT = "oFAKE1: 你好 👋 6972028683187026694";
const RECEIVERS = [
  ["wechat 2.1.0", "weixin", askWechat],
  ["node-easywechat 3.6.2, Official Account", "weixin", askEasyWechat.bind(null, OfficialAccount)],
  ["node-easywechat 3.6.2, WeCom", "wecom", askEasyWechat.bind(null, Work)],
] as const;

test.each(RECEIVERS)(
  "a receiver built with %s reads the original and a copy, and its replies reach the user",
  async (_, platform, ask) => {
    const { push, original, copy } = setup(platform);
    for (const [request, key] of [
      [original, KEY],
      [copy, TARGET],
    ] as const) {
      const body = Buffer.from(await ask(key, request));
      const answer = answerOf(push, body, key, NOW);
      expect(answer?.isReply).toBe(true);
      expect(replyIn(push, answer?.body)).toContain(CONTENT);
      // What the app's own key made goes back as it is.
      expect(answer?.body === body).toBe(key === KEY);
    }
  },
);

test.each(RECEIVERS)("a receiver built with %s answers a check of its URL", async (_, platform, ask) => {
  const { receiveId } = setup(platform);
  const query = checkQuery(platform, { key: TARGET, receiveId, echo: "4375120948345356249" }, NOW);
  expect(await ask(TARGET, { method: "GET", query, body: new Uint8Array() })).toBe("4375120948345356249");
});

test("@wecom/crypto 1.0.1 signs, encrypts and decrypts as we do", () => {
  const message = fc.string({ unit: "grapheme", maxLength: 80 }).map((text) => Buffer.from(text).toString());
  fc.assert(
    fc.property(
      message,
      fc.constantFrom("", APP, CORP),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      (text, id, random) => {
        const aesKey = KEY.encodingAesKey.reveal();
        const encrypted = encryptPush(text, id, KEY, random);
        expect(encrypt(aesKey, text, id, Buffer.from(random))).toBe(encrypted);
        expect(decrypt(aesKey, encrypted)).toMatchObject({ message: text, id });
        const opened = decryptPush(encrypt(aesKey, text, id), KEY);
        expect([Buffer.from(opened.message).toString(), opened.receiveId]).toEqual([text, id]);
        expect(signPush(KEY, "1790000000", "n", encrypted)).toBe(
          getSignature(KEY.token.reveal(), "1790000000", "n", encrypted),
        );
      },
    ),
    { seed: 15, numRuns: 500 },
  );
});
