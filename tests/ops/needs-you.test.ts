import { expect, test } from "bun:test";
import type { ApiKeyRecord } from "../../src/access/client.ts";
import { needsOf, type NeedsParts } from "../../src/ops/needs-you.ts";
import type { Node } from "../../src/ops/nodes.ts";
import type { App } from "../../src/apps/app.ts";
import { newPlatform } from "../support/new-platform.ts";
import { newApiKey, newClient } from "../support/client-records.ts";
import { ManualClock } from "../support/manual-clock.ts";

const DAY_MS = 86_400_000;
const ALL = { isVisible: () => true, seesAll: true, isAdmin: true };

const node = (silentMs: number): Node => ({
  ...{ id: "n1", host: "token-a", pid: 812, version: "0.1.0", offsetMs: 0, keyIds: [] },
  ...{ isListening: true, startedAt: 1, seenAt: 5000, silentMs },
});

/** A service in which nothing needs anybody, but for what is given. */
function setup(
  given: Partial<NeedsParts> & {
    readonly keys?: readonly ApiKeyRecord[];
    readonly quotas?: readonly { name: string; endpoint: string; calls: number; limit: number }[];
  } = {},
) {
  const clock = new ManualClock();
  const parts: NeedsParts = {
    index: {
      page: async () => ({ names: [], next: undefined }),
      foreignRefreshes: async () => [],
      fullestQuotas: async () => [...(given.quotas ?? [])],
    },
    clients: {
      list: () => [newClient("shop")],
      keysOf: () => [...(given.keys ?? [])],
    },
    queue: { figures: async () => ({ waiting: 3, dead: 0, oldestAt: 1 }) },
    listNodes: async () => [node(0)],
    notReady: async () => [],
    backups: async () => ({ isStale: false }),
    platforms: async () => [],
    clock,
    ...given,
  };
  const typesOf = async (reader = ALL) => (await needsOf(parts, reader)).map(({ type }) => type);
  return { clock, parts, typesOf };
}

test("where all is well nothing needs anybody", async () => {
  expect(await setup().typesOf()).toEqual([]);
});

test("what is wrong with the service comes first, and is for those alone who may see all of it", async () => {
  const it = setup({
    notReady: async () => [
      { part: "audit", message: "审计不可写 (the audit can't be written)" },
      { part: "database", message: "只读 (read-only)" },
    ],
    queue: { figures: async () => ({ waiting: 0, dead: 2, oldestAt: undefined }) },
    listNodes: async () => [node(0), node(20_000)],
    backups: async () => ({
      ...{ folder: "/backup", everyMs: DAY_MS, isStale: true },
      last: { at: 4000, file: "accesstoken-20270101T000000Z-3f9c21ab.tar.gz", bytes: 1 },
      failed: { at: 9000, message: "磁盘已满 (the disk is full)" },
    }),
  });
  expect(await needsOf(it.parts, ALL)).toMatchObject([
    { type: "not_ready", action: "settings", message: "只读 (read-only)" },
    { type: "audit_broken", action: "audit" },
    { type: "node_gone", at: 5000, message: expect.stringContaining("process 812 of token-a") },
    { type: "backup_stale", action: "settings", at: 4000, message: "磁盘已满 (the disk is full)" },
    { type: "dead_deliveries", action: "pushes", message: expect.stringMatching(/^2条.*\(2 pushes/) },
  ]);
  expect(await it.typesOf({ ...ALL, seesAll: false, isAdmin: false })).toEqual([]);
  expect(await it.typesOf({ ...ALL, isAdmin: false })).toEqual([
    "not_ready",
    "audit_broken",
    "backup_stale",
    "dead_deliveries",
  ]);
});

test("a quota needs somebody from four fifths on", async () => {
  const quota = { endpoint: "/cgi-bin/token", limit: 2000 };
  const it = setup({
    quotas: [
      { ...quota, name: "wx1", calls: 1600 },
      { ...quota, name: "wx2", calls: 1599 },
    ],
  });
  expect(await needsOf(it.parts, { ...ALL, seesAll: false, isAdmin: false })).toEqual([
    {
      ...{ type: "quota", app: "wx1", action: "app" },
      message: "/cgi-bin/token 今日已用 1600 / 2000 次 (/cgi-bin/token: 1600 of today's 2000 calls are used)",
    },
  ]);
});

test("a key needs somebody in its last week, unless it is revoked, over, or replaced already", async () => {
  const { clock } = setup();
  const now = clock.now();
  const key = (prefix: string, more: Partial<ApiKeyRecord>) => ({
    ...newApiKey("shop", prefix),
    prefix,
    ...more,
  });
  const it = setup({
    keys: [
      key("ats_later0", { expiresAt: now + 7 * DAY_MS + 1 }),
      key("ats_second", { expiresAt: now + 7 * DAY_MS }),
      key("ats_first0", { expiresAt: now + DAY_MS }),
      key("ats_over00", { expiresAt: now }),
      key("ats_rolled", { expiresAt: now + DAY_MS, replacedBy: "ats_other0" }),
      key("ats_gone00", { expiresAt: now + DAY_MS, revokedAt: now }),
    ],
  });
  const needs = await needsOf({ ...it.parts, clock }, ALL);
  expect(needs.map(({ client, message }) => `${client}: ${/ats_\w+/.exec(message)?.[0]}`)).toEqual([
    "shop: ats_first0",
    "shop: ats_second",
  ]);
});

test("a platform without tickets, and an account that has to authorize again, need somebody who may see everything", async () => {
  const app = newPlatform("weixin", "wx00000000000000c1");
  const account = (n: number, isDisabled = false): App => ({
    ...newPlatform("weixin", `wx00000000000000a${n}`, { isDisabled }),
    role: undefined,
    authorization: { platformApp: app.id, authorizedAt: 1, scopes: [], lostAt: 2 },
  });
  const state = {
    ...{ app, hasTicket: true, ticketAt: undefined, valid: 1, failed: [] },
    lost: [account(1), account(2, true)],
  };
  const it = setup({ platforms: async () => [state] });
  expect(await needsOf(it.parts, ALL)).toMatchObject([
    { type: "ticket_missing", app: app.id, message: expect.stringContaining(`/callback/${app.id}/auth`) },
    { type: "authorization_lost", app: `wx00000000000000a1_${app.id}`, at: 2 },
  ]);
  expect(await it.typesOf({ ...ALL, seesAll: false })).toEqual([]);
  const well = setup({
    platforms: async () => [{ ...state, ticketAt: it.clock.now(), lost: [] }],
  });
  expect(await well.typesOf()).toEqual([]);
});

test("a platform that was added just now needs nobody before its first ticket could have come", async () => {
  const { clock } = setup();
  const app = newPlatform("wecom", "ww00000000000000d1");
  const of = (minutes: number) => {
    const addedAt = clock.now() - minutes * 60_000;
    const state = {
      app: { ...app, addedAt },
      hasTicket: true,
      ticketAt: undefined,
      valid: 0,
      lost: [],
      failed: [],
    };
    return setup({ platforms: async () => [state] }).typesOf();
  };
  expect([await of(14.9), await of(15)]).toEqual([[], ["ticket_missing"]]);
});
