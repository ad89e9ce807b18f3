import { expect, test } from "bun:test";
import type { App } from "../../src/apps/app.ts";
import type { AuditEntry } from "../../src/audit/audit-entry.ts";
import { ServiceError, type UpstreamRefusal } from "../../src/errors.ts";
import type { AppStatus } from "../../src/credentials/status.ts";
import type { Finding } from "../../src/ops/alarm-state.ts";
import { CONDITION_IDS, conditionOf, type ConditionId } from "../../src/ops/conditions.ts";
import { type FindingParts, findingsOf } from "../../src/ops/findings.ts";
import { textOfFailure } from "../../src/platforms/kept-texts.ts";
import type { Milestone, MilestoneName } from "../../src/ops/milestones.ts";
import { newPlatform } from "../support/new-platform.ts";
import { newAlarm } from "../support/alarm-records.ts";
import { newApiKey } from "../support/client-records.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { nothingWrong } from "./alarm-harness.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

/** A service in which nothing is wrong but what is given; `choices` are what an administrator has decided. */
function setup(
  given: (
    clock: ManualClock,
  ) => Partial<Omit<FindingParts, "index">> & { index?: Partial<FindingParts["index"]> } = () => ({}),
  choices: Partial<Record<ConditionId, { isOn?: boolean; threshold?: number }>> = {},
) {
  const clock = new ManualClock();
  const nothing = nothingWrong(clock);
  const { index, ...more } = given(clock);
  const parts: FindingParts = {
    ...nothing,
    audit: { list: async () => [], listDenials: async () => [] },
    milestones: { list: async () => new Map() },
    settings: {
      settingOf: (id) => {
        const { isOn, threshold } = conditionOf(id);
        return { isOn, threshold: threshold?.value ?? 0, ...choices[id] };
      },
    },
    ...more,
    index: { ...nothing.index, ...index },
  };
  const find = async (standing: Parameters<typeof findingsOf>[1] = []) => findingsOf(parts, standing);
  const told = async () => (await find()).found.map(({ condition, subject }) => `${condition}:${subject}`);
  return { clock, parts, find, told };
}

/** The status of an app whose token WeChat or WeCom refuses. */
function refused(upstream: Partial<UpstreamRefusal> = {}, hint?: string): AppStatus {
  const refusal = {
    platform: "weixin",
    errcode: 40164,
    errmsg: "invalid ip 203.0.113.7",
    class: "config",
    ...upstream,
  } as const;
  const error = new ServiceError("upstream_rejected", "x", {
    upstream: refusal,
    ...(hint === undefined ? {} : { hint }),
  });
  return {
    worst: { lastFailure: { error, at: 1, count: 1 }, life: { expiresAt: 99 } },
  } as unknown as AppStatus;
}

const blockedApp = (status: AppStatus | undefined) =>
  setup(() => ({
    index: { page: async () => ({ names: ["wx1"], next: undefined }) },
    statusesOf: async () => new Map(status ? [["wx1", status]] : []),
  }));

test("where all is well nothing is found", async () => {
  expect(await setup().find()).toEqual({ found: [], unknown: new Set(), lapsed: new Set() });
});

test("an app that is blocked is told with WeChat's words, what to do and what is left", async () => {
  const { found } = await blockedApp(refused({}, "请加白名单 (add it)")).find();
  expect(found).toEqual([
    {
      ...{ condition: "app_blocked", subject: "wx1" },
      detail: {
        message: "invalid ip 203.0.113.7",
        errcode: 40164,
        hint: "请加白名单 (add it)",
        expiresAt: 99,
      },
    },
  ]);
  const { found: damaged } = await blockedApp(undefined).find();
  expect(damaged).toMatchObject([
    { condition: "app_blocked", detail: { message: expect.stringContaining("damaged") } },
  ]);
});

test("what WeCom bans is an alarm of its own, and a minute's quota of WeChat is none", async () => {
  const ban = { platform: "wecom", errcode: 45009, class: "quota_minute" } as const;
  expect(await blockedApp(refused(ban)).told()).toEqual(["wecom_banned:wx1"]);
  expect(await blockedApp(refused({ errcode: 45011, class: "quota_minute" })).told()).toEqual([]);
});

test("an alarm of a blocked app lasts until WeChat answers it again, and not until the backoff ends", async () => {
  const states = ["failing", "fresh", undefined] as const;
  const it = setup(() => ({ index: { statesOf: async () => [...states] } }));
  const standing = ["wx1", "wx2", "wx3"].map((subject) => newAlarm({ since: 1, subject }));
  expect((await it.find(standing)).found).toMatchObject([{ subject: "wx1", isRemnant: true }]);
});

test("another program that fetches tokens, and quotas from 80, 95 and 100 % on, are found", async () => {
  const quota = { endpoint: "/cgi-bin/token", limit: 100 };
  const it = setup(() => ({
    index: {
      foreignRefreshes: async () => [{ name: "wx1", at: 5 }],
      fullestQuotas: async () => [79, 80, 95, 100].map((calls) => ({ ...quota, name: `wx${calls}`, calls })),
    },
  }));
  expect(await it.told()).toEqual([
    ...["revoked_early:wx1", "quota_80:wx80", "quota_80:wx95", "quota_95:wx95"],
    ...["quota_80:wx100", "quota_95:wx100", "quota_100:wx100"],
  ]);
});

test("a token that can't be renewed is told before its end, and after it", async () => {
  const asked: number[] = [];
  const it = setup((clock) => ({
    index: {
      endingTokens: async (leftMs: number) => {
        asked.push(leftMs);
        return [
          { name: "wx1", endsAt: clock.now() },
          { name: "wx2", endsAt: clock.now() + 4.5 * MINUTE_MS },
        ];
      },
    },
  }));
  expect(await it.told()).toEqual(["credential_expired:wx1", "renewal_failing:wx2"]);
  expect((await it.find()).found[1]?.detail.message).toContain("5 minutes");
  expect(asked[0]).toBe(600_000);
});

test("budgets, the network, wrong keys and backups are told from their thresholds on", async () => {
  const at = (n: number) =>
    setup(
      (clock) => ({
        pacing: { forcedOften: async (least) => (n >= least ? [{ appId: "wx1", count: n }] : []) },
        index: { countUnreachable: async () => n },
        audit: {
          list: async () => [],
          listDenials: async () => [
            { id: 1, minute: 1, address: "a", client: "", route: "r", code: 401, count: n - 1 },
            { id: 2, minute: 1, address: "b", client: "", route: "r", code: 401, count: 1 },
            { id: 3, minute: 1, address: "b", client: "x", route: "r", code: 403, count: 500 },
          ],
        },
        backupsEveryMs: 12 * HOUR_MS,
        startedAt: clock.now() - n * HOUR_MS,
      }),
      {
        forced_refreshes: { threshold: 20 },
        upstream_unreachable: { threshold: 20 },
        wrong_keys: { threshold: 19 },
        backup_stale: { threshold: 20 },
      },
    );
  expect(await at(19).told()).toEqual([]);
  expect(await at(20).told()).toEqual([
    "forced_refreshes:wx1",
    "upstream_unreachable:",
    "wrong_keys:",
    "backup_stale:",
  ]);
});

test("a backup is missed by the last that was made, and only where backups are made", async () => {
  const it = (everyHours: number | undefined, ageHours: number) =>
    setup((clock) => ({
      backupsEveryMs: everyHours && everyHours * HOUR_MS,
      startedAt: clock.now() - 99 * HOUR_MS,
      milestones: {
        list: async () =>
          new Map<MilestoneName, Milestone>([
            ["backup", { at: clock.now() - ageHours * HOUR_MS, detail: {} }],
          ]),
      },
    }));
  expect(await it(24, 35).told()).toEqual([]);
  expect(await it(24, 36).told()).toEqual(["backup_stale:"]);
  // By a timer of the system: the threshold alone.
  expect(await it(undefined, 35).told()).toEqual([]);
  expect(await it(undefined, 36).told()).toEqual(["backup_stale:"]);
  expect(await setup((clock) => ({ startedAt: clock.now() - 99 * HOUR_MS })).told()).toEqual([]);
  // One a week is missed after a week and a half.
  expect(await it(168, 251).told()).toEqual([]);
  expect(await it(168, 252).told()).toEqual(["backup_stale:"]);
});

test("an audit that was found broken is told until it is found whole", async () => {
  const it = (intact: boolean) =>
    setup(() => ({
      milestones: {
        list: async () =>
          new Map<MilestoneName, Milestone>([["audit_verified", { at: 1, detail: { intact } }]]),
      },
    }));
  expect(await it(false).told()).toEqual(["audit_broken:"]);
  expect(await it(true).told()).toEqual([]);
});

test("a key that ends within the days of its threshold is told with its client", async () => {
  const it = (days: number) =>
    setup((clock) => ({
      clock,
      clients: {
        list: () => [{ name: "shop" } as never],
        keysOf: () => [{ ...newApiKey("shop", "0123456789ab"), expiresAt: clock.now() + days * DAY_MS }],
      },
    }));
  expect(await it(6).told()).toEqual(["key_ends:shop"]);
  expect(await it(8).told()).toEqual([]);
});

test("a platform without tickets is told after half an hour, WeCom's after a quarter, with the URL to look at", async () => {
  const suite = newPlatform("wecom", "ww00000000000000d1");
  const component = newPlatform("weixin", "wx00000000000000c1");
  const it = (minutes: number, ...platforms: readonly App[]) =>
    setup((clock) => ({
      platforms: async () =>
        platforms.map((app) => ({
          ...{ app, hasTicket: app.role !== "provider", valid: 0, lost: [], failed: [] },
          ticketAt: clock.now() - minutes * MINUTE_MS,
        })),
    }));
  const provider: App = { ...suite, role: "provider", id: "ww00000000000000e1" };
  const off = newPlatform("weixin", "wx00000000000000c2", { isDisabled: true });
  expect(await it(14.9, component, suite, provider, off).told()).toEqual([]);
  expect(await it(15, component, suite, provider, off).told()).toEqual([`ticket_missing:${suite.id}`]);
  expect(await it(29.9, component).told()).toEqual([]);
  const { found } = await it(31.5, component, off).find();
  expect(found).toMatchObject([
    { subject: component.id, detail: { message: expect.stringContaining("31 minutes") } },
  ]);
  expect(found[0]?.detail.hint).toContain(`/callback/${component.id}/auth`);
  expect(found[0]?.detail.hint).toContain(`accesstoken platforms start-pushing ${component.id}`);
});

test("a platform that no ticket has reached yet has as long, and the alarm of one that is gone just ends", async () => {
  const app = newPlatform("weixin", "wx00000000000000c1");
  const state = { app, hasTicket: true, ticketAt: undefined, valid: 0, lost: [], failed: [] };
  const it = (minutes: number) =>
    setup((clock) => ({
      platforms: async () => [{ ...state, app: { ...app, addedAt: clock.now() - minutes * MINUTE_MS } }],
    }));
  expect(await it(29.9).told()).toEqual([]);
  expect(await it(30).told()).toEqual([`ticket_missing:${app.id}`]);
  const standing = newAlarm({ since: 1, condition: "ticket_missing", subject: app.id });
  const gone = setup((clock) => ({ platforms: async () => [{ ...state, ticketAt: clock.now() }] }));
  expect(await gone.find([standing])).toMatchObject({
    found: [],
    lapsed: new Set([`ticket_missing ${app.id}`]),
  });
  const well = setup((clock) => ({
    ...{ platforms: async () => [{ ...state, ticketAt: clock.now() }], directory: { find: () => app } },
  }));
  expect((await well.find([standing])).lapsed).toEqual(new Set());
});

test("an account whose authorization is lost is told until it is given again, removed or disabled", async () => {
  const app = newPlatform("weixin", "wx00000000000000c1");
  const account = (n: number, isDisabled = false): App => ({
    ...newPlatform("weixin", `wx00000000000000a${n}`, { isDisabled }),
    role: undefined,
    authorization: { platformApp: app.id, authorizedAt: 1, scopes: [], lostAt: 2 },
  });
  const state = { app, hasTicket: true, valid: 1, lost: [account(1), account(2, true)], failed: [] };
  const it = setup((clock) => ({ platforms: async () => [{ ...state, ticketAt: clock.now() }] }));
  const { found } = await it.find();
  expect(found).toMatchObject([{ condition: "authorization_lost", subject: `wx00000000000000a1_${app.id}` }]);
  expect(found[0]?.detail.message).toContain(app.id);
  const standing = newAlarm({
    since: 1,
    condition: "authorization_lost",
    subject: `wx00000000000000a2_${app.id}`,
  });
  expect((await it.find([standing])).lapsed).toEqual(new Set([`authorization_lost ${standing.subject}`]));
  // That there are too many of them ends as any alarm does.
  const ofAll = newAlarm({ since: 1, condition: "authorization_lost", subject: "" });
  expect((await it.find([ofAll])).lapsed).toEqual(new Set());
});

test("an authorization that came to nothing is told as often as it happens, with whose it was where that is known", async () => {
  const app = newPlatform("wecom", "dk00000000000000d1");
  const state = { app, hasTicket: true, valid: 1, lost: [] };
  const error = textOfFailure(
    new ServiceError("upstream_rejected", "", {
      upstream: { platform: "wecom", errcode: 40078, errmsg: "invalid auth_code", class: "input" },
    }),
  );
  const failed = ["wwcorp1", "*", "wwcorp1"].map((account, n) => ({
    ...{ platformApp: app.id, account, dueAt: 9 - n, error },
  }));
  const it = setup((clock) => ({ platforms: async () => [{ ...state, ticketAt: clock.now(), failed }] }));
  expect((await it.find()).found).toEqual([
    {
      ...{ condition: "authorization_failed", subject: app.id, at: 9 },
      detail: {
        ...{ errcode: 40078, hint: expect.stringContaining(`accesstoken platforms link ${app.id}`) },
        message: expect.stringContaining("3 authorizations of the last day came to nothing: wwcorp1)"),
      },
    },
  ]);
});

test("a process that is gone is told until another has been started on its machine", async () => {
  const gone = {
    id: "a",
    host: "token-a",
    pid: 1,
    version: "1",
    offsetMs: 0,
    keyIds: [],
    isListening: true,
  } as const;
  const it = (startedAt: number) =>
    setup(() => ({
      listNodes: async () => [
        { ...gone, startedAt: 1, seenAt: 5000, silentMs: 20_000 },
        { ...gone, id: "b", startedAt, seenAt: 25_000, silentMs: 0 },
      ],
    }));
  expect(await it(4000).told()).toEqual(["node_gone:token-a"]);
  expect(await it(5000).told()).toEqual([]);
});

test("a master key that was changed within the hour is told by when that was", async () => {
  const entry = { id: 1, at: 77, action: "master_key.rotated" } as unknown as AuditEntry & {
    id: number;
    at: number;
    hash: string;
  };
  const it = setup((clock) => ({
    audit: {
      list: async ({ action, since }) =>
        action === "master_key.rotated" && since === clock.now() - HOUR_MS ? [entry] : [],
      listDenials: async () => [],
    },
  }));
  expect((await it.find()).found).toMatchObject([{ condition: "master_key_rotated", at: 77 }]);
});

test("what can't be looked at is unknown, and the rest is found all the same", async () => {
  const it = setup(() => ({
    index: { endingTokens: () => Promise.reject(new Error("busy")), countUnreachable: async () => 3 },
  }));
  expect(await it.find()).toMatchObject({
    found: [{ condition: "upstream_unreachable" }] satisfies Partial<Finding>[],
    unknown: new Set(["renewal_failing", "credential_expired"]),
  });
});

test("what stays wrong hides nothing that comes later, what is well again of it ends, and of more than a thousand the number is told", async () => {
  const name = (n: number) => `wx${String(n).padStart(4, "0")}`;
  const all = new Set(Array.from({ length: 150 }, (_, n) => name(n)));
  const first = (isWanted: (name: string) => boolean, limit: number) =>
    [...all].filter((each) => isWanted(each)).slice(0, limit);
  const it = setup((clock) => ({
    index: {
      page: async ({ isVisible, limit }) => ({ names: first(isVisible, limit), next: undefined }),
      statesOf: async (names) => names.map((each) => (all.has(each) ? ("blocked" as const) : "fresh")),
      foreignRefreshes: async (isVisible, limit) =>
        first(isVisible, limit).map((each) => ({ name: each, at: 5 })),
      fullestQuotas: async (isVisible, limit) =>
        first(isVisible, limit).map((each) => ({ name: each, endpoint: "x", limit: 100, calls: 90 })),
      endingTokens: async (_leftMs, isVisible, limit) =>
        first(isVisible, limit).map((each) => ({ name: each, endsAt: clock.now() })),
    },
    pacing: { forcedOften: async () => [...all].map((appId) => ({ appId, count: 20 })) },
    clients: {
      list: () => [...all].map((each) => ({ name: each }) as never),
      keysOf: (client) =>
        all.has(client) ? [{ ...newApiKey(client, "0123456789ab"), expiresAt: clock.now() + DAY_MS }] : [],
    },
  }));
  const conditions = [
    ...(["app_blocked", "revoked_early", "quota_80", "credential_expired"] as const),
    ...(["forced_refreshes", "key_ends"] as const),
  ];
  let standing: Parameters<typeof findingsOf>[1] = [];
  const look = async () => {
    const { found, unknown } = await it.find(standing);
    expect(unknown).toEqual(new Set());
    standing = found.map(({ condition, subject }) => newAlarm({ since: 1, condition, subject }));
    const subjects = Map.groupBy(found, ({ condition }) => condition);
    return conditions.map((each) => new Set(subjects.get(each)?.map(({ subject }) => subject)));
  };
  for (const found of await look()) expect(found.size).toBe(100);
  for (const found of await look()) expect(found).toEqual(all);
  all.delete(name(7));
  all.add(name(9999));
  for (const found of await look()) expect(found).toEqual(all);
  // There is an end to it all the same.
  for (let n = 1000; n < 3000; n++) all.add(name(n));
  for (let n = 0; n < 15; n++) await look();
  for (const found of await look()) expect([found.size, found.has("")]).toEqual([1001, true]);
  const { found } = await it.find(standing);
  const told = found.filter(({ subject }) => subject === "");
  expect(told.map(({ condition }) => condition).toSorted()).toEqual(conditions.toSorted());
  for (const { detail } of told) expect(detail.message).toContain("2150 in all, 1000 of them");
});

test("nothing is looked for that nobody wants to know", async () => {
  const off = Object.fromEntries(CONDITION_IDS.map((id) => [id, { isOn: false }]));
  const fail = () => Promise.reject(new Error("asked"));
  const it = setup(
    () => ({
      index: { page: fail, endingTokens: fail, countUnreachable: fail },
      ...{ listNodes: fail, pacing: { forcedOften: fail }, milestones: { list: fail } },
      audit: { list: fail, listDenials: fail },
    }),
    off,
  );
  expect(await it.find()).toEqual({ found: [], unknown: new Set(), lapsed: new Set() });
});
