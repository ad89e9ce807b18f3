import { EventBus } from "../../src/events.ts";
import { expect, test } from "bun:test";
import { GatewayPaths } from "../../src/api/gateway.ts";
import { Reply } from "../../src/api/face.ts";
import { WechatFace } from "../../src/api/wechat.ts";
import { Access } from "../../src/access/access.ts";
import { Concurrency } from "../../src/access/limits.ts";
import { ClientDirectory } from "../../src/access/client-directory.ts";
import { AppDirectory } from "../../src/apps/app-directory.ts";
import { TokenResolver } from "../../src/credentials/token-resolver.ts";
import { Secret } from "../../src/secret.ts";
import { MemoryClientStore } from "../access/memory-client-store.ts";
import { call, clientPrincipal } from "../support/callers.ts";
import { ManualClock } from "../support/manual-clock.ts";

/** A face in which every token is one of an app that we hold, and the requests that were given more time than others. */
function setup() {
  const clock = new ManualClock();
  const app = { platform: "weixin", id: "wx1", secret: new Secret("s"), tokenMode: "stable" } as const;
  const directory = new AppDirectory([app], () => "");
  const store = new MemoryClientStore();
  const clients = new ClientDirectory(store, store.changes, clock);
  const access = new Access({
    directory,
    clients,
    clock,
    anonymous: true,
    anonymousPerSecond: 0,
    processes: () => 1,
  });
  const slot = directory.slotOfApp("wx1");
  const ticket = {
    platform: "weixin",
    methods: ["GET"],
    action: "ticket:read",
    answer: async () => new Reply({ ticket: "t" }, {}),
  } as const;
  const gateway = {
    call: async () => ({ response: new Response("ok"), result: "hit" as const, healing: "none" as const }),
    check: () => undefined,
  };
  const untouched = { forward: () => Promise.reject(new Error("not asked for")) };
  const userTokens = { find: async () => undefined, replace: async () => undefined };
  const face = new WechatFace({
    access,
    resolver: new TokenResolver(
      access,
      { find: async () => ({ kind: "real", name: slot, slot }) },
      new EventBus(),
    ),
    endpoints: {
      secret: new Map(),
      token: { weixin: new Map([["/cgi-bin/ticket/getticket", ticket]]), wecom: new Map() },
    },
    others: new GatewayPaths(access, gateway, untouched, new Concurrency(() => 1), userTokens),
    clock,
  });
  const given: [path: string, seconds: number][] = [];
  const ask = async (path: string) => {
    const giveTime = (seconds: number) => void given.push([path, seconds]);
    const made = call(new Request(`http://localhost${path}?access_token=x`), giveTime);
    const principal = clientPrincipal("all");
    made.identify({ ...principal, owner: { ...principal.owner, allows: () => true } });
    return (await face.handle(made)).text();
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
