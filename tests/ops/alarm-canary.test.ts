import { expect, test } from "bun:test";
import { Networks } from "../../src/access/networks.ts";
import { ServiceError, type UpstreamRefusal } from "../../src/errors.ts";
import { createLog } from "../../src/log.ts";
import { CONDITION_IDS } from "../../src/ops/conditions.ts";
import { CHANNEL_KINDS, type ChannelSender } from "../../src/ops/notifications.ts";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { Secret } from "../../src/secret.ts";
import { HttpChannelSender } from "../../src/upstream/channel-sender.ts";
import { entryFor, NotedSender } from "../support/alarm-records.ts";
import { newPlatform } from "../support/new-platform.ts";
import { newApiKey, newClient } from "../support/client-records.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { StoreFolder } from "../support/store-folder.ts";
import { nothingWrong, openProcess } from "./alarm-harness.ts";

const CANARY = "canary-7f3a";
const ACTOR = { client: "admin", environment: "", address: "127.0.0.1", traceId: "t" };
const DAY_MS = 86_400_000;

/** Sends for real, and notes what was sent. */
class ToldSender extends NotedSender {
  readonly #sender: ChannelSender;

  constructor(sender: ChannelSender) {
    super();
    this.#sender = sender;
  }

  override async send(...given: Parameters<ChannelSender["send"]>): ReturnType<ChannelSender["send"]> {
    await super.send(...given);
    return this.#sender.send(...given);
  }
}

test("P6: no message of any condition to any kind of channel has a secret in it, nor has what is kept of it", async () => {
  const clock = new ManualClock();
  using folder = new StoreFolder(clock);
  await using sandbox = Sandbox.start({ clock, weixinApps: [], wecomApps: [] });
  const bodies: string[] = [];
  using webhook = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request) => {
      bodies.push(`${JSON.stringify([...request.headers])} ${await request.text()}`);
      return new Response(CANARY);
    },
  });
  const networks = new Networks("127.0.0.0/8");
  const sender = new ToldSender(new HttpChannelSender({ clock, proxyUrl: undefined, networks }));
  const refusal = (platform: "weixin" | "wecom", more: Partial<UpstreamRefusal>): ServiceError =>
    new ServiceError("upstream_rejected", "refused", {
      upstream: { platform, errcode: 40164, errmsg: "invalid ip 203.0.113.7", class: "config", ...more },
      cause: new Error(CANARY),
      logged: CANARY,
    });
  const statuses = new Map(
    [
      ["wx1", refusal("weixin", {})] as const,
      [
        "ww1_1",
        refusal("wecom", { errcode: 45009, errmsg: "api freq out of limit", class: "quota_minute" }),
      ] as const,
    ].map(([app, error]) => [
      app,
      {
        slot: { secret: new Secret(CANARY) },
        worst: { lastFailure: { error }, life: { expiresAt: clock.now() } },
      } as never,
    ]),
  );
  const platform = { ...newPlatform("weixin", "wx00000000000000c1"), secret: new Secret(CANARY) };
  const lost = { authorizedAt: 1, scopes: [], lostAt: 2, userName: CANARY };
  const key = { ...newApiKey("shop", CANARY), expiresAt: clock.now() + DAY_MS };
  const node = {
    id: CANARY,
    host: "token-b",
    pid: 1,
    version: "1",
    offsetMs: 0,
    keyIds: [CANARY],
    isListening: true,
  };
  const store = await folder.open();
  const nothing = nothingWrong(clock);
  const it = await openProcess(
    store,
    clock,
    { sender },
    {
      index: {
        ...nothing.index,
        page: async () => ({ names: ["wx1", "ww1_1"], next: undefined }),
        foreignRefreshes: async () => [{ name: "wx1", at: 1 }],
        fullestQuotas: async () => [{ name: "wx1", endpoint: "/cgi-bin/token", calls: 2000, limit: 2000 }],
        endingTokens: async () => [
          { name: "wx1", endsAt: 1 },
          { name: "wx2", endsAt: clock.now() + 60_000 },
        ],
        countUnreachable: async () => 3,
      },
      statusesOf: async () => statuses,
      platforms: async () => [
        {
          ...{ app: platform, hasTicket: true, ticketAt: 1, valid: 0 },
          lost: [{ ...platform, role: undefined, authorization: { ...lost, platformApp: platform.id } }],
          failed: [{ platformApp: platform.id, account: "wx3", dueAt: 1, error: undefined }],
        },
      ],
      pacing: { forcedOften: async () => [{ appId: "wx1", count: 20 }] },
      clients: { list: () => [newClient("shop")], keysOf: () => [key] },
      listNodes: async () => [{ ...node, startedAt: 1, seenAt: 2, silentMs: 99_000 }],
      audit: {
        list: async () => [
          { ...entryFor("master_key.rotated"), id: 1, at: 5, hash: CANARY, detail: { key: CANARY } },
        ],
        listDenials: async () => [
          { id: 1, minute: 1, address: CANARY, client: "", route: CANARY, code: 401, count: 999 },
        ],
      },
      milestones: {
        list: async () =>
          new Map([["audit_verified", { at: 1, detail: { intact: false, of: CANARY } }] as const]),
      },
      backupsEveryMs: DAY_MS,
      startedAt: 1,
    },
  );
  const lines: string[] = [];
  it.events.subscribe(createLog("debug", clock, (line) => lines.push(line)));
  for (const kind of CHANNEL_KINDS) {
    const url =
      kind === "webhook"
        ? `${webhook.url.origin}/${CANARY}-path`
        : sandbox.bots.urlOf(kind, sandbox.wecomUrl);
    const secrets = {
      dingtalk: `SEC${"d2".repeat(31)}02`,
      feishu: "sandbox-feishu-secret3",
      webhook: `${CANARY}-signing`,
    };
    const secret = kind === "wecom" ? {} : { secret: new Secret(secrets[kind]) };
    await it.administration.create(kind, kind, { url: new Secret(url), ...secret }, { actor: ACTOR });
  }
  await it.administration.choose({ new_address: { isOn: true } }, { actor: ACTOR });
  it.wrong.reasons = [
    { part: "audit", message: "审计无法写入 (the audit can't be written)" },
    { part: "database", message: "数据库只读 (the database is read-only)" },
  ];
  it.wrong.freeBytes = 1;
  for (let n = 0; n < 20; n++) {
    for (const address of n > 2 ? ["10.0.0.8", "203.0.113.7"] : ["10.0.0.8"])
      it.addresses.note("shop", { address });
    clock.advance(10_000);
    await it.alarms.tick();
    await it.notifier.tick();
  }
  const told = sender.sent.flatMap(({ message }) => message.alarms.map(({ condition }) => condition));
  const omitted = sender.sent.reduce((sum, { message }) => sum + message.omitted, 0);
  const records = [...(await store.alarms.list()), ...(await store.alarms.list("new_address"))];
  expect(new Set(records.map(({ condition }) => condition))).toEqual(new Set(CONDITION_IDS));
  expect(told.length + omitted).toBeGreaterThanOrEqual(CHANNEL_KINDS.length * CONDITION_IDS.length);
  const arrived = {
    ...Object.fromEntries(
      (["wecom", "dingtalk", "feishu"] as const).map((kind) => [kind, sandbox.bots.messages(kind)]),
    ),
    bodies,
  };
  for (const [kind, messages] of Object.entries(arrived))
    expect([kind, messages.length > 0]).toEqual([kind, true]);
  const { channels } = await store.channels.load();
  const kept = {
    ...{ arrived, lines, emitted: it.emitted, records, channels },
    messages: sender.sent.map(({ message }) => message),
    notifications: await store.notifications.page({ limit: 99 }),
    audit: await store.audit.list({}, { limit: 99 }),
  };
  for (const [what, each] of Object.entries(kept))
    expect([
      what,
      JSON.stringify(each).match(/canary-\w*|0{30}|feishu-secret|[?&](key|access_token|sign)=/g),
    ]).toEqual([what, null]);
  expect(lines.some((line) => line.includes('"notification.sent"'))).toBe(true);
});
