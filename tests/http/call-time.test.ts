import { expect, test } from "bun:test";
import { Caller } from "../../src/access/principal.ts";
import { EventBus } from "../../src/events.ts";
import { WechatFace } from "../../src/http/wechat-face.ts";
import { Secret } from "../../src/secret.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { weixinSlot } from "../support/slots.ts";

/** A face in which every token is one of `slot`, and the requests that were given more time than others. */
function setup() {
  const slot = weixinSlot();
  const given: [path: string, seconds: number][] = [];
  const origin = { address: "127.0.0.1", untrustedReason: undefined, isSuspicious: false };
  const holding = { name: slot, slot, token: new Secret("x") };
  const ticket = { platform: "weixin", methods: ["GET"], answer: async () => ({ ticket: "t" }) } as const;
  const face = new WechatFace({
    authentication: { meet: () => new Caller("0".repeat(32), () => origin), admitToken: () => undefined },
    holders: { admit: async () => holding, admitToApp: () => holding },
    endpoints: {
      secret: new Map(),
      token: { weixin: new Map([["/cgi-bin/ticket/getticket", ticket]]), wecom: new Map() },
    },
    gateway: { call: async () => new Response("ok") },
    userTokenCalls: { takes: () => false, pass: async () => new Response() },
    audit: { countUsage: () => undefined, countDenial: () => undefined },
    events: new EventBus(),
    clock: new ManualClock(),
  });
  const ask = async (path: string) => {
    const giveTime = (seconds: number) => void given.push([path, seconds]);
    const request = new Request(`http://localhost${path}?access_token=x`);
    return (await face.answer(request, { peer: () => "127.0.0.1", giveTime })).text();
  };
  return { given, ask };
}

test("a call is given as much time as there is, for files on slow lines; an answer of ours needs none", async () => {
  const { given, ask } = setup();
  expect(await ask("/cgi-bin/media/upload")).toBe("ok");
  expect(await ask("/gateway/wx1/cgi-bin/media/upload")).toBe("ok");
  expect(await ask("/cgi-bin/ticket/getticket")).toBe('{"ticket":"t"}');
  expect(given).toEqual([
    ["/cgi-bin/media/upload", 255],
    ["/gateway/wx1/cgi-bin/media/upload", 255],
  ]);
});
