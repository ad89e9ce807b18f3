import { expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import type { BotKind } from "../../src/sandbox/bots.ts";
import { MINUTE, postOf, SandboxHarness, SECOND } from "./sandbox-harness.ts";

const TEXT = { msgtype: "text", text: { content: "hello" } };
const FEISHU_TEXT = { msg_type: "text", content: { text: "hello" } };

function setup() {
  const world = new SandboxHarness();
  const { clock, sandbox } = world;
  const pathOf = (kind: BotKind) => {
    const url = new URL(sandbox.bots.urlOf(kind, sandbox.wecomUrl));
    return [url.pathname, Object.fromEntries(url.searchParams)] as const;
  };
  const dingtalkSigned = (secret: string, at = clock.now()) => ({
    timestamp: String(at),
    sign: createHmac("sha256", secret).update(`${at}\n${secret}`).digest("base64"),
  });
  const feishuSigned = (secret: string, at = Math.floor(clock.now() / 1000)) => ({
    timestamp: String(at),
    sign: createHmac("sha256", `${at}\n${secret}`).digest("base64"),
  });
  const send = async (kind: BotKind, body: unknown, query: Record<string, string> = {}) => {
    const [path, own] = pathOf(kind);
    const { json } = await world.wecom(path, { ...own, ...query }, postOf(body));
    return json["errcode"] ?? json["code"];
  };
  /** Bots that ask for no signature. */
  const unsigned = () => {
    for (const kind of ["dingtalk", "feishu"] as const) sandbox.bots.change(kind, { secret: undefined });
  };
  return { world, clock, sandbox, pathOf, dingtalkSigned, feishuSigned, send, unsigned };
}

test("each bot answers in its own form, with HTTP 200 for a refusal too", async () => {
  const { world, send, pathOf, unsigned } = setup();
  await using _ = world;
  unsigned();
  for (const [kind, body, good, bad] of [
    ["wecom", TEXT, { errcode: 0, errmsg: "ok" }, { errcode: 40_008 }],
    ["dingtalk", TEXT, { errcode: 0, errmsg: "ok" }, { errcode: 40_035 }],
    ["feishu", FEISHU_TEXT, { code: 0, msg: "success", StatusCode: 0 }, { code: 9499 }],
  ] as const) {
    const [path, query] = pathOf(kind);
    const [sent, refused] = [
      await world.wecom(path, query, postOf(body)),
      await world.wecom(path, query, postOf({})),
    ];
    expect([sent.status, refused.status]).toEqual([200, 200]);
    expect(sent.json).toMatchObject(good);
    expect(refused.json).toMatchObject(bad);
    expect((await world.wecom(path, query)).json).not.toMatchObject(good);
  }
  expect(await send("wecom", TEXT, { key: "no" })).toBe(93_000);
  expect(await send("dingtalk", TEXT, { access_token: "no" })).toBe(300_005);
  expect((await world.wecom("/open-apis/bot/v2/hook/no", {}, postOf(FEISHU_TEXT))).json["code"]).toBe(19_001);
});

test("DingTalk's signature is checked with its time in milliseconds, Feishu's with its time in seconds", async () => {
  const { world, clock, sandbox, send, dingtalkSigned, feishuSigned } = setup();
  await using _ = world;
  sandbox.bots.change("dingtalk", { secret: "one" });
  sandbox.bots.change("feishu", { secret: "two" });
  expect(await send("dingtalk", TEXT, dingtalkSigned("one"))).toBe(0);
  expect(await send("dingtalk", TEXT, dingtalkSigned("other"))).toBe(310_000);
  expect(await send("dingtalk", TEXT, dingtalkSigned("one", clock.now() - 61 * MINUTE))).toBe(310_000);
  expect(await send("dingtalk", TEXT)).toBe(310_000);
  const seconds = Math.floor(clock.now() / 1000);
  expect(await send("feishu", { ...FEISHU_TEXT, ...feishuSigned("two") })).toBe(0);
  expect(await send("feishu", { ...FEISHU_TEXT, ...feishuSigned("other") })).toBe(19_021);
  expect(await send("feishu", { ...FEISHU_TEXT, ...feishuSigned("two", seconds - 3661) })).toBe(19_021);
  expect(await send("feishu", FEISHU_TEXT)).toBe(19_021);
});

test("WeCom counts bytes of UTF-8, 4,096 of markdown and 2,048 of text", async () => {
  const { world, send } = setup();
  await using _ = world;
  const markdown = (content: string) => ({ msgtype: "markdown", markdown: { content } });
  const text = (content: string) => ({ msgtype: "text", text: { content } });
  expect(await send("wecom", markdown(`${"长".repeat(1365)}x`))).toBe(0);
  expect(await send("wecom", markdown(`${"长".repeat(1365)}xx`))).toBe(40_058);
  expect(await send("wecom", text("x".repeat(2048)))).toBe(0);
  expect(await send("wecom", text("x".repeat(2049)))).toBe(40_058);
  expect(await send("wecom", text(""))).toBe(44_004);
});

test("a keyword and an address list are asked for once they are set", async () => {
  const { world, sandbox, send, unsigned } = setup();
  await using _ = world;
  unsigned();
  for (const [kind, body, keyword, ip] of [
    ["dingtalk", TEXT, 310_000, 310_000],
    ["feishu", FEISHU_TEXT, 19_024, 19_022],
  ] as const) {
    sandbox.bots.change(kind, { keywords: ["other"] });
    expect(await send(kind, body)).toBe(keyword);
    sandbox.bots.change(kind, { keywords: ["other", "hell"], ips: ["203.0.113.7"] });
    expect(await send(kind, body)).toBe(ip);
    sandbox.bots.change(kind, { ips: ["127.0.0.*"] });
    expect(await send(kind, body)).toBe(0);
  }
});

test("20 a minute: WeCom takes more a minute later, DingTalk is silent for ten; Feishu takes five a second", async () => {
  const { world, clock, send, unsigned } = setup();
  await using _ = world;
  unsigned();
  for (let n = 0; n < 20; n++)
    expect([await send("wecom", TEXT), await send("dingtalk", TEXT)]).toEqual([0, 0]);
  expect([await send("wecom", TEXT), await send("dingtalk", TEXT)]).toEqual([45_009, 130_101]);
  clock.advance(MINUTE);
  expect([await send("wecom", TEXT), await send("dingtalk", TEXT)]).toEqual([0, 130_101]);
  clock.advance(9 * MINUTE);
  expect(await send("dingtalk", TEXT)).toBe(0);

  for (let n = 0; n < 5; n++) expect(await send("feishu", FEISHU_TEXT)).toBe(0);
  expect(await send("feishu", FEISHU_TEXT)).toBe(11_232);
  clock.advance(SECOND);
  expect(await send("feishu", FEISHU_TEXT)).toBe(0);
});

test("people read what arrived, set a bot up differently and let it forget, by the controls", async () => {
  const { world, sandbox, send, unsigned } = setup();
  await using _ = world;
  unsigned();
  await send("wecom", { ...TEXT, text: { content: "hi", mentioned_list: ["@all", "zhangsan"] } });
  await send("dingtalk", { ...TEXT, at: { atMobiles: ["13800000000"], isAtAll: false } });
  const { bots } = (await world.weixin("/sandbox/bots")).json as { bots: Record<string, unknown>[] };
  expect(bots.map(({ bot }) => bot)).toEqual(["wecom", "dingtalk", "feishu"]);
  expect(bots[0]).toMatchObject({
    url: sandbox.bots.urlOf("wecom", sandbox.wecomUrl),
    messages: [{ body: { msgtype: "text" }, mentioned: ["all", "zhangsan"] }],
  });
  // As there, nobody is told whose number is not in the text.
  expect(bots[1]).toMatchObject({ messages: [{ mentioned: [] }] });

  const change = (body: unknown) => world.weixin("/sandbox/bots", {}, postOf(body));
  expect((await change({ bot: "dingtalk", keywords: ["告警"], secret: "s" })).status).toBe(200);
  expect(await send("dingtalk", TEXT)).toBe(310_000);
  expect((await change({ bot: "dingtalk", keywords: null, secret: null })).status).toBe(200);
  expect(await send("dingtalk", TEXT)).toBe(0);
  for (const nonsense of [{}, { bot: "slack" }, { bot: "feishu", keywords: "x" }])
    expect((await change(nonsense)).status).toBe(400);

  expect((await world.weixin("/sandbox/bots", {}, { method: "DELETE" })).status).toBe(200);
  expect(sandbox.bots.messages("wecom")).toEqual([]);
});

test("a bot meets the faults of its path, in its own form", async () => {
  const { world, sandbox, send, unsigned } = setup();
  await using _ = world;
  unsigned();
  sandbox.inject({ kind: "error", errcode: 7, endpoint: "/robot/send", times: 1 });
  expect(await send("wecom", TEXT)).toBe(0);
  expect(await send("dingtalk", TEXT)).toBe(7);
  expect(await send("dingtalk", TEXT)).toBe(0);
  expect(sandbox.calls("/robot/send", "wecom")).toBe(2);
});
