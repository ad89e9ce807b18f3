import { expect, test } from "bun:test";
import { createClient } from "../support/access-harness.ts";
import { ManagingHarness } from "../support/managing-harness.ts";

const CHANNELS = "/v1/notifications/channels";
const URL = "https://open.feishu.cn/open-apis/bot/v2/hook/5f2c9d1e-canary-address";
const NEW = { channel: "ops", kind: "feishu", url: URL, secret: "canary-signing-secret" };

test("P6: P7: a channel is made, changed and removed, each with its audit entry, and shown by its last characters", async () => {
  await using at = await ManagingHarness.create();
  const made = await at.ask("POST", CHANNELS, { ...NEW, quiet_hours: "23:00-08:00", mention: ["@all"] });
  const { version } = made.data as { version: number };
  expect([made.status, made.headers.get("etag")]).toEqual([201, `"${version}"`]);
  expect(made.data).toMatchObject({
    ...{ channel: "ops", kind: "feishu", url: "…ress", secret: "…cret", enabled: true, mention: ["@all"] },
    ...{ min_severity: "info", quiet_hours: "23:00-08:00", tell_resolved: true },
  });
  expect(await at.audited()).toMatchObject([
    {
      ...{ by: "admin", action: "notification_channel.created" },
      detail: { of: "ops", kind: "feishu", url: "changed", secret: "changed" },
    },
  ]);
  expect((await at.ask("POST", CHANNELS, NEW)).status).toBe(409);
  const ifMatch = `"${version}"`;
  const change = {
    enabled: false,
    quiet_hours: null,
    secret: null,
    min_severity: "critical",
    tell_resolved: false,
  };
  const changed = await at.ask("PATCH", `${CHANNELS}/ops`, change, { ifMatch });
  expect(changed.data).toMatchObject({
    enabled: false,
    url: "…ress",
    min_severity: "critical",
    tell_resolved: false,
  });
  expect([changed.data["secret"], changed.data["quiet_hours"]]).toEqual([undefined, undefined]);
  expect((await at.ask("PATCH", `${CHANNELS}/ops`, change, { ifMatch })).status).toBe(412);
  expect((await at.ask("DELETE", `${CHANNELS}/ops`, undefined, { ifMatch })).status).toBe(412);
  expect((await at.ask("GET", `${CHANNELS}/ops`)).data).toEqual(changed.data);
  expect((await at.ask("GET", CHANNELS)).data["channels"]).toEqual([changed.data]);
  expect((await at.ask("DELETE", `${CHANNELS}/ops`)).status).toBe(200);
  const entries = await at.audited(2);
  expect(entries.map(({ action }) => action)).toEqual([
    "notification_channel.deleted",
    "notification_channel.updated",
  ]);
  for (const method of ["GET", "DELETE"]) expect((await at.ask(method, `${CHANNELS}/ops`)).status).toBe(404);
  expect(JSON.stringify([made, changed, await at.audited(9)])).not.toMatch(/canary/);
});

test("a channel whose signing secret is damaged is not changed without saying which it has now", async () => {
  await using at = await ManagingHarness.create();
  await at.ask("POST", CHANNELS, NEW);
  at.database.run("UPDATE notification_channels SET secret = 'x'");
  // Whatever is changed has the channels read again.
  await at.ask("POST", CHANNELS, { ...NEW, channel: "dev" });
  expect((await at.ask("PATCH", `${CHANNELS}/ops`, { url: URL })).status).toBe(400);
  const changed = await at.ask("PATCH", `${CHANNELS}/ops`, { url: URL, secret: NEW.secret, enabled: true });
  expect(changed.data).toMatchObject({ secret: "…cret", enabled: true });
  expect(changed.data["damaged"]).toBeUndefined();
});

test("a channel has a URL of its kind, and nothing that would say too much", async () => {
  await using at = await ManagingHarness.create();
  const WECOM = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=0123456789abcdef";
  for (const wrong of [
    { ...NEW, url: WECOM },
    { ...NEW, url: "https://open.feishu.cn.example.com/open-apis/bot/v2/hook/0123456789" },
    { ...NEW, url: `https://user@open.feishu.cn/open-apis/bot/v2/hook/0123456789` },
    { ...NEW, kind: "wecom", url: WECOM },
    { ...NEW, kind: "webhook", url: "http://alarms.example.com/" },
    { ...NEW, kind: "webhook", url: "https://alarms.example.com/#part" },
    { ...NEW, kind: "telegram" },
    { ...NEW, channel: "a b" },
    { ...NEW, secret: "short" },
    { ...NEW, mention: ["two words"] },
    { ...NEW, quiet_hours: "25:00-08:00" },
    { ...NEW, quiet_hours: "08:00-08:00" },
    { ...NEW, min_severity: "bad" },
    { ...NEW, more: 1 },
  ]) {
    const refused = await at.ask("POST", CHANNELS, wrong);
    expect([refused.status, refused.code, JSON.stringify(wrong)]).toEqual([400, 1, JSON.stringify(wrong)]);
    expect(refused.text).not.toContain("canary");
  }
  const { kind, url } = { kind: "webhook", url: "https://10.0.0.8:8443/alarms?team=ops" };
  expect((await at.ask("POST", CHANNELS, { ...NEW, kind, url })).status).toBe(201);
});

test("P7: a test goes the way of an alarm, and brings the bot's own answer, with our hint where it refuses", async () => {
  await using at = await ManagingHarness.create();
  const { bots, wecomUrl } = at.world.sandbox;
  const url = bots.urlOf("wecom", wecomUrl);
  await at.ask("POST", CHANNELS, { channel: "ops", kind: "wecom", url });
  const tried = await at.ask("POST", `${CHANNELS}/ops/test`);
  expect(tried.data).toMatchObject({ ok: true, answer: expect.stringContaining("ok") });
  expect(bots.messages("wecom")).toHaveLength(1);
  await at.ask("PATCH", `${CHANNELS}/ops`, { url: `${url.split("key=")[0]}key=not-the-right-key-0000` });
  const refused = await at.ask("POST", `${CHANNELS}/ops/test`);
  expect(refused.data).toMatchObject({
    ok: false,
    errcode: 93000,
    hint: expect.stringMatching(/[一-鿿].*\([a-z]/),
  });
  expect(await at.audited(2)).toMatchObject([
    { action: "notification.failed", detail: { of: "ops", test: true, errcode: 93000 } },
    { action: "notification_channel.updated" },
  ]);
  const { notifications } = (await at.ask("GET", "/v1/notifications?channel=ops")).data;
  expect(notifications).toMatchObject([
    { channel: "ops", kind: "test", state: "failed", attempts: 1, alarms: [{ condition: "app_blocked" }] },
    { channel: "ops", kind: "test", state: "sent" },
  ]);
  for (let n = 0; n < 4; n++) await at.ask("POST", `${CHANNELS}/ops/test`);
  const often = await at.ask("POST", `${CHANNELS}/ops/test`);
  expect([often.status, often.code]).toEqual([429, 429]);
  expect((await at.ask("POST", `${CHANNELS}/none/test`)).status).toBe(404);
  const metrics = await (await fetch(`${at.world.service.url}/metrics`)).text();
  expect(metrics).toContain('accesstoken_notifications_total{kind="wecom",outcome="sent"} 1\n');
  expect(metrics).toContain('accesstoken_notifications_total{kind="wecom",outcome="failed"} 5\n');
});

test("the messages come in pages, the newest first", async () => {
  await using at = await ManagingHarness.create();
  await at.ask("POST", CHANNELS, NEW);
  for (let n = 0; n < 3; n++) await at.ask("POST", `${CHANNELS}/ops/test`);
  const page = async (query: string) => {
    const { data } = await at.ask("GET", `/v1/notifications?${query}`);
    return { ids: (data["notifications"] as { id: number }[]).map(({ id }) => id), next: data["next"] };
  };
  expect(await page("limit=2")).toEqual({ ids: [3, 2], next: "2" });
  expect(await page("limit=2&before=2")).toEqual({ ids: [1], next: undefined });
  expect((await page("channel=other")).ids).toEqual([]);
});

test("conditions are turned on and off and have other thresholds, and null is as by default", async () => {
  await using at = await ManagingHarness.create();
  const path = "/v1/notifications/conditions";
  const find = ({ data }: Awaited<ReturnType<typeof at.ask>>, id: string) =>
    (data["conditions"] as { condition: string }[]).find(({ condition }) => condition === id);
  const before = await at.ask("GET", path);
  expect(find(before, "wrong_keys")).toMatchObject({
    enabled: true,
    threshold: 100,
    hold: 0,
    is_default: true,
  });
  expect(find(before, "new_address")).toMatchObject({ enabled: false });
  const change = { wrong_keys: { threshold: 500 }, new_address: { enabled: true } };
  const changed = await at.ask("PATCH", path, change, { ifMatch: before.headers.get("etag") ?? "" });
  expect(find(changed, "wrong_keys")).toMatchObject({ enabled: true, threshold: 500, is_default: false });
  expect(find(changed, "new_address")).toMatchObject({ enabled: true });
  expect(await at.audited()).toMatchObject([{ action: "setting.changed", detail: { conditions: {} } }]);
  expect((await at.ask("PATCH", path, {}, { ifMatch: before.headers.get("etag") ?? "" })).status).toBe(412);
  await at.ask("PATCH", path, { wrong_keys: { enabled: false } });
  const again = await at.ask("PATCH", path, { new_address: null });
  expect(find(again, "wrong_keys")).toMatchObject({ enabled: false, threshold: 500 });
  expect(find(again, "new_address")).toMatchObject({ enabled: false, is_default: true });
  for (const wrong of [
    { forced_refreshes: { threshold: 21 } },
    { app_blocked: { threshold: 3 } },
    { wrong_keys: { threshold: 0 } },
    { none: { enabled: true } },
  ])
    expect((await at.ask("PATCH", path, wrong)).status).toBe(400);
});

test("alarms are for administrators, and for clients that may view every app but what is about keys and processes", async () => {
  await using at = await ManagingHarness.create();
  const { world, database } = at;
  const viewer = await createClient(world, { name: "viewer", grants: [{ apps: ["*"], actions: ["view"] }] });
  const some = await createClient(world, { name: "some", grants: [{ apps: ["wx1"], actions: ["view"] }] });
  const insert = database.query(
    "INSERT INTO alarms (condition, subject, state, since, seen_at, told_at, detail, version) VALUES (?, ?, ?, ?, 9, ?, ?, 1)",
  );
  const detail = JSON.stringify({ message: "m", errcode: 40164, hint: "加 (add)", expiresAt: 77 });
  insert.run("key_ends", "shop", "pending", 5, null, JSON.stringify({ message: "k" }));
  insert.run("app_blocked", "wx1", "firing", 7, 8, detail);
  insert.run("store_read_only", "token-a", "firing", 6, 6, JSON.stringify({ message: "d" }));
  insert.run("quota_80", "wx2", "resolved", 6, 6, JSON.stringify({ message: "q" }));
  const { data } = await at.ask("GET", "/v1/alarms");
  expect(data["alarms"]).toMatchObject([
    { condition: "store_read_only", severity: "critical", subject: "token-a", state: "firing" },
    { condition: "app_blocked", told_at: 8, errcode: 40164, message: "m", hint: "加 (add)", expires_at: 77 },
    { condition: "key_ends", severity: "warning", state: "pending" },
  ]);
  const { data: seen } = await at.ask("GET", "/v1/alarms", undefined, { key: viewer });
  expect(seen["alarms"]).toMatchObject([{ condition: "app_blocked" }]);
  expect((await at.ask("GET", "/v1/alarms", undefined, { key: some })).status).toBe(403);
});
