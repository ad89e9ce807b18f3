import { expect, test } from "bun:test";
import { generatePushKey } from "../../src/callbacks/push-crypto.ts";
import { type PushMessage, readPushMessage } from "../../src/callbacks/push-message.ts";
import { answerOf, encryptReply } from "../../src/callbacks/push-reply.ts";
import { PushRefused } from "../../src/callbacks/push-crypto.ts";
import { type VerifiedPush, verifyPush } from "../../src/callbacks/verify-push.ts";
import { systemClock } from "../../src/clock.ts";
import {
  type PushedMessage,
  type PushEndpoint,
  type PushOptions,
  PushSender,
} from "../../src/sandbox/push-sender.ts";

const APP = "wxa000000000000001";
const CORP = "ww0000000000000001";
const MESSAGE_ID = 6_972_028_683_187_026_694n;
const MESSAGE: PushedMessage = {
  ToUserName: "gh_000000000001",
  FromUserName: "oFAKE1",
  CreateTime: 1_790_000_000,
  MsgType: "text",
  Content: "你好 👋 ]]>",
  MsgId: MESSAGE_ID,
};
const REPLIES = {
  xml: "<xml><ToUserName><![CDATA[oFAKE1]]></ToUserName><FromUserName><![CDATA[gh_1]]></FromUserName><CreateTime>1</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[好]]></Content></xml>",
  json: `{"ToUserName":"oFAKE1","FromUserName":"gh_1","CreateTime":1,"MsgType":"text","Content":"好"}`,
};

type Variant = Pick<PushEndpoint, "platform" | "mode" | "format">;
const VARIANTS: readonly Variant[] = [
  ...(["plain", "compat", "secure"] as const).flatMap((mode) =>
    (["xml", "json"] as const).map((format) => ({ platform: "weixin", mode, format }) as const),
  ),
  { platform: "wecom", mode: "secure", format: "xml" },
];

/** A callback URL with the service's own verification behind it, and somebody who pushes to it. */
function setup(variant: Variant, answer?: (push: VerifiedPush) => Response | Promise<Response>) {
  const key = generatePushKey();
  const receiveId = variant.platform === "wecom" ? CORP : APP;
  const settings = { ...variant, keys: [key], receiveIds: [receiveId] };
  const received: { message: PushMessage; query: string }[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => {
      const query = new URL(request.url).search.slice(1);
      const method = request.method === "GET" ? "GET" : "POST";
      try {
        const body = await request.bytes();
        const verified = verifyPush(settings, { method, query, body }, systemClock.now());
        if (verified.kind === "check") return new Response(verified.echo);
        received.push({ message: readPushMessage(verified), query });
        if (answer) return await answer(verified);
        const reply = Buffer.from(REPLIES[variant.format]);
        return new Response(answerOf(verified, reply, key, systemClock.now())?.body);
      } catch (error) {
        if (!(error instanceof PushRefused)) throw error;
        return new Response(error.reason, { status: 403 });
      }
    },
  });
  const sender = new PushSender(systemClock);
  const endpoint: PushEndpoint = {
    ...variant,
    url: `${server.url.href}callback/x?own=1`,
    token: key.token.reveal(),
    encodingAesKey: key.encodingAesKey.reveal(),
    receiveId,
  };
  return {
    endpoint,
    received,
    check: (change: Partial<PushEndpoint> = {}) => sender.check({ ...endpoint, ...change }),
    push: (change: Partial<PushEndpoint> = {}, options?: PushOptions) =>
      sender.push({ ...endpoint, ...change }, MESSAGE, options),
    [Symbol.dispose]: () => void server.stop(true),
  };
}

test.each(VARIANTS)(
  "the two readings agree on a push and its reply: $platform, $mode, $format",
  async (variant) => {
    using it = setup(variant);
    expect((await it.check()).verdict).toBe("accepted");
    const made = await it.push();
    expect(made).toMatchObject([{ verdict: "reply", status: 200, detail: REPLIES[variant.format] }]);
    expect(it.received).toMatchObject([
      { message: { fromUserName: "oFAKE1", msgType: "text", msgId: String(MESSAGE_ID) } },
    ]);
  },
);

test.each(VARIANTS.filter(({ mode }) => mode !== "plain"))(
  "a push that is signed or meant wrongly is refused: $platform, $mode, $format",
  async (variant) => {
    using it = setup(variant);
    const refused = async (change: Partial<PushEndpoint>) => {
      const made = await it.push(change);
      return made.map(({ verdict, detail }) => `${verdict} ${detail}`);
    };
    const thrice = Array<string>(3).fill("wrong status 403");
    expect(await refused({ token: "another" })).toEqual(thrice);
    expect(await refused({ receiveId: "wx9999999999999999" })).toEqual(thrice);
    expect(await refused({ encodingAesKey: "B".repeat(43) })).toEqual(thrice);
    expect((await it.check({ token: "another" })).verdict).toBe("wrong");
    expect(it.received).toEqual([]);
  },
);

const SECURE: Variant = { platform: "weixin", mode: "secure", format: "xml" };

test("a push is sent three times in all, signed anew, until it is accepted", async () => {
  let left = 2;
  using it = setup(SECURE, () => new Response(left-- > 0 ? "oops" : "success"));
  expect((await it.push()).map(({ verdict }) => verdict)).toEqual(["wrong", "wrong", "accepted"]);
  expect(new Set(it.received.map(({ query }) => query)).size).toBe(3);
});

test("a replay is the same request again, also after it was accepted", async () => {
  using it = setup(SECURE, () => new Response(""));
  const made = await it.push({}, { isReplayed: true, attempts: 2 });
  expect(made.map(({ verdict }) => verdict)).toEqual(["accepted", "accepted"]);
  expect(new Set(it.received.map(({ query }) => query)).size).toBe(1);
});

test("an answer that does not come in time is late, and nobody at the address is unreachable", async () => {
  using it = setup(SECURE, () => new Promise<Response>(() => undefined));
  const made = await it.push({}, { timeoutMs: 50, attempts: 2 });
  expect(made.map(({ verdict }) => verdict)).toEqual(["late", "late"]);
  const closed = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
  const url = closed.url.href;
  await closed.stop(true);
  expect((await it.push({ url }, { attempts: 1 }))[0]?.verdict).toBe("unreachable");
});

const clear = () => new Response(REPLIES.xml);
const encrypted = (change: Partial<VerifiedPush>) => (push: VerifiedPush) =>
  new Response(encryptReply({ ...push, ...change }, REPLIES.xml, systemClock.now()).body);
const WRONG: readonly [string, (push: VerifiedPush) => Response][] = [
  ["not encrypted", clear],
  ["wrong signature", encrypted({ key: generatePushKey() })],
  ["another receiveId", encrypted({ receiveId: "wx9" })],
  ["not xml", () => new Response(REPLIES.json)],
  ["status 500", () => new Response("success", { status: 500 })],
];

test.each(WRONG)("a reply is wrong that WeChat would not take: %s", async (detail, answer) => {
  using it = setup(SECURE, answer);
  expect(await it.push({}, { attempts: 1 })).toMatchObject([{ verdict: "wrong", detail }]);
});

test("a reply with a nonce of its own is taken and told apart from one that repeats the push's", async () => {
  using own = setup(SECURE, encrypted({ nonce: "1" }));
  expect(await own.push()).toMatchObject([{ verdict: "reply", hasOwnNonce: true }]);
  using repeated = setup(SECURE, encrypted({}));
  expect(await repeated.push()).toMatchObject([{ verdict: "reply", hasOwnNonce: false }]);
});
