import { expect, test as declared } from "bun:test";
import type { MinuteCount } from "../../../src/audit/audit-store.ts";
import type { HourlyCount, RefreshAttempt } from "../../../src/credentials/refresh-log.ts";
import type { OpenStore } from "./open-store.ts";

const HOUR = 3_600_000;
const ATTEMPT: RefreshAttempt = {
  ...{ at: 0, app: "wx1", kind: "access_token", trigger: "ahead", outcome: "ok", errcode: undefined },
  ...{ durationMs: 120, generation: 7, host: "host-1" },
};
const REFUSED: RefreshAttempt = {
  ...{ ...ATTEMPT, trigger: "on_demand", outcome: "upstream_rejected", errcode: 40125 },
  generation: undefined,
};
const ALL = { from: 0, to: Number.MAX_SAFE_INTEGER };
const LIMITS = { attemptsFrom: 0, hoursFrom: 0, maxAttempts: 1_000_000 };

/** How often a client did something on an app in a minute. */
function usage(action: string, app: string, n: number, minute = 0): MinuteCount {
  return { minute, kind: "usage", key: ["bot", "dev", action, app].join("\u001f"), n };
}

/** What every log of refreshes must do. `kind` names it in the tests' names. */
export function refreshLogStoreContract(kind: string, open: OpenStore, test = declared): void {
  async function setup() {
    const opened = await open();
    const log = opened.store.refreshLog;
    const list = (app = "wx1", limit = 200) => log.list(app, { ...ALL, limit });
    const instants = async (app = "wx1") => (await list(app, 5000)).map(({ at }) => at);
    const hours = async (...apps: string[]) => inOrder(await log.listHours(apps, ALL));
    return { ...opened, log, list, instants, hours, [Symbol.dispose]: () => opened.dispose() };
  }

  test(`${kind}: attempts are found as they were written, the newest first, by every process and after a restart`, async () => {
    using it = await setup();
    const later = { ...REFUSED, at: 1 };
    await it.log.add([ATTEMPT]);
    await (await it.beside()).refreshLog.add([later, { ...ATTEMPT, app: "wx2", at: 2, trigger: "pushed" }]);
    await it.log.add([]);
    expect(await it.list()).toEqual([later, ATTEMPT]);
    expect(await it.list("wx1", 1)).toEqual([later]);
    expect(await it.list("wx3")).toEqual([]);
    const again = (await it.reopen()).refreshLog;
    expect(await again.list("wx1", { from: 0, to: 1, limit: 10 })).toEqual([ATTEMPT]);
    expect(await again.list("wx1", { from: 1, to: 2, limit: 10 })).toEqual([later]);
  });

  test(`${kind}: attempts are counted by the hour, those that failed apart`, async () => {
    using it = await setup();
    await it.log.add([ATTEMPT, { ...ATTEMPT, at: HOUR - 1 }, { ...ATTEMPT, at: HOUR }, REFUSED]);
    await (await it.beside()).refreshLog.add([REFUSED, { ...ATTEMPT, app: "wx2" }]);
    const expected: HourlyCount[] = [
      { app: "wx1", hour: 0, series: "failures", n: 2 },
      { app: "wx1", hour: 0, series: "refreshes", n: 2 },
      { app: "wx1", hour: HOUR, series: "refreshes", n: 1 },
    ];
    expect(await it.hours("wx1")).toEqual(expected);
    expect(await it.hours("wx1", "wx2")).toEqual([
      ...expected,
      { app: "wx2", hour: 0, series: "refreshes", n: 1 },
    ]);
    const period = { from: HOUR, to: 2 * HOUR };
    expect(await it.log.listHours(["wx1"], period)).toEqual(expected.slice(2));
    expect(await it.log.listHours(["wx1"], { from: 0, to: HOUR })).toHaveLength(2);
  });

  test(`${kind}: what the audit counts by the minute is counted by the hour of the app that it was for, and nothing else`, async () => {
    using it = await setup();
    await it.store.audit.addCounts([
      usage("token:read", "wx1", 1),
      usage("token:read force_refresh", "wx1", 2, 60_000),
      usage("token:refresh", "wx1", 4, HOUR),
      usage("ticket:sign", "wx1", 8),
      usage("api:call /cgi-bin/user", "wx1", 16),
      usage("api:call /cgi-bin/menu", "ww1_agent", 32),
      usage("token:clear", "wx1", 64),
      usage("push text", "wx1", 64),
      ...["*", "(other)", ""].map((app) => usage("token:read", app, 64)),
      { minute: 0, kind: "denial", key: ["10.0.0.8", "", "token:read", "wx1"].join("\u001f"), n: 64 },
    ]);
    await (await it.beside()).audit.addCounts([usage("token:read", "wx1", 100)]);
    const expected: HourlyCount[] = [
      { app: "ww1_agent", hour: 0, series: "gateway", n: 32 },
      { app: "wx1", hour: 0, series: "gateway", n: 16 },
      { app: "wx1", hour: 0, series: "uses", n: 111 },
      { app: "wx1", hour: HOUR, series: "uses", n: 4 },
    ];
    expect(await it.hours("wx1", "ww1_agent", "*", "(other)", "")).toEqual(expected);
  });

  test(`${kind}: upstream calls are counted by the hour, whatever the endpoint`, async () => {
    using it = await setup();
    const call = { platform: "weixin", appId: "wx1", day: "1970-01-01", hour: 0, calls: 2 } as const;
    const user = { ...call, endpoint: "/cgi-bin/user" };
    const other = { ...user, appId: "(other)" };
    const later = { ...user, hour: HOUR, calls: 5 };
    await it.store.callCounts.add([user, { ...call, endpoint: "/cgi-bin/token" }, later, other]);
    expect(await it.hours("wx1", "(other)")).toEqual([
      { app: "wx1", hour: 0, series: "calls", n: 4 },
      { app: "wx1", hour: HOUR, series: "calls", n: 5 },
    ]);
    const found = await it.store.callCounts.ofApps(["wx1"], "1970-01-01");
    expect(Object.fromEntries(found.map(({ endpoint, calls }) => [endpoint, calls]))).toEqual({
      "/cgi-bin/token": 2,
      "/cgi-bin/user": 7,
    });
  });

  test(`${kind}: what is older than the limits goes, a thousand at once, and nothing newer`, async () => {
    using it = await setup();
    const many = Array.from({ length: 1500 }, (_, n) => ({ ...ATTEMPT, app: `wx${n}`, at: n }));
    for (const part of [many.slice(0, 800), many.slice(800)]) await it.log.add(part);
    await it.log.add([
      { ...ATTEMPT, at: 5000 },
      { ...ATTEMPT, at: 2 * HOUR },
    ]);
    const limits = { ...LIMITS, attemptsFrom: 5000, hoursFrom: HOUR };
    expect(await it.log.prune(limits)).toBe(false);
    expect(await it.log.prune(limits)).toBe(true);
    for (const app of ["wx0", "wx700", "wx1499"]) {
      expect(await it.instants(app)).toEqual([]);
      expect(await it.hours(app)).toEqual([]);
    }
    expect(await it.instants()).toEqual([2 * HOUR, 5000]);
    expect(await it.hours("wx1")).toEqual([{ app: "wx1", hour: 2 * HOUR, series: "refreshes", n: 1 }]);
    expect(await it.log.prune(limits)).toBe(true);
    expect(await it.instants()).toHaveLength(2);
  });

  test(`${kind}: of more attempts than there may be the oldest go, however new they are`, async () => {
    using it = await setup();
    await it.log.add(Array.from({ length: 10 }, (_, n) => ({ ...ATTEMPT, at: n })));
    expect(await it.log.prune({ ...LIMITS, maxAttempts: 10 })).toBe(true);
    expect(await it.instants()).toHaveLength(10);
    await it.log.prune({ ...LIMITS, maxAttempts: 4 });
    expect(await it.instants()).toEqual([9, 8, 7, 6]);
  });

  test(`${kind}: the first hour is that from which on there are no more counts than there may be, whole hours`, async () => {
    using it = await setup();
    const last = it.clock.now() - (it.clock.now() % HOUR);
    const hourAgo = (n: number) => last - n * HOUR;
    // Two counts in each of three hours, and one two days before.
    for (const app of ["wx1", "wx2"])
      await it.log.add([0, 1, 2].map((n) => ({ ...ATTEMPT, app, at: hourAgo(n) + 5 })));
    await it.log.add([{ ...ATTEMPT, at: hourAgo(48) }]);
    const from = hourAgo(100);
    for (const [most, first] of [
      [7, from],
      [6, hourAgo(47)],
      [5, hourAgo(1)],
      [4, hourAgo(1)],
      [1, hourAgo(-1)],
    ] as const)
      expect([most, await it.log.firstHour(from, most)]).toEqual([most, first]);
    expect(await it.log.firstHour(hourAgo(2), 6)).toBe(hourAgo(2));
  });

  test(`${kind}: of several processes one takes a round of pruning the log`, async () => {
    using it = await setup();
    const { refreshLog: other } = await it.beside();
    const claims = () => Promise.all([it.log, other].map((log) => log.claimPruning(HOUR)));
    expect((await claims()).toSorted((a, b) => a - b)).toEqual([0, HOUR]);
    it.clock.advance(HOUR);
    expect((await claims()).filter((waitMs) => waitMs === 0)).toHaveLength(1);
    // The audit's is another.
    expect(await it.store.audit.claimPruning(HOUR)).toBe(0);
  });

  test(`${kind}: the use of an app is summed by client and environment, in a period and whatever the action`, async () => {
    using it = await setup();
    const by = (client: string, environment: string, app: string, n: number, minute: number) => {
      const key = [client, environment, "token:read", app].join("\u001f");
      return { minute, kind: "usage", key, n } as const;
    };
    await it.store.audit.addCounts([
      by("bot", "dev", "ww1_a", 1, 0),
      by("bot", "dev", "ww1_a", 2, 60_000),
      by("bot", "prod", "ww1_a", 4, 90 * 60_000),
      by("one", "dev", "ww1_a", 8, 3 * HOUR),
      by("bot", "dev", "ww1xa", 16, 0),
      by("bot", "dev", "other-ww1_a", 16, 0),
    ]);
    const sums = (since: number, until?: number) =>
      it.store.audit.sumUsage({ app: "ww1_a", since, ...(until === undefined ? {} : { until }) });
    const app = "ww1_a";
    expect(await sums(0)).toEqual([
      { client: "one", environment: "dev", app, count: 8 },
      { client: "bot", environment: "prod", app, count: 4 },
      { client: "bot", environment: "dev", app, count: 3 },
    ]);
    expect(await sums(60_001, 3 * HOUR)).toEqual([
      { client: "bot", environment: "prod", app, count: 4 },
      { client: "bot", environment: "dev", app, count: 2 },
    ]);
  });
}

function inOrder(counts: readonly HourlyCount[]): HourlyCount[] {
  const key = ({ app, hour, series }: HourlyCount) => `${app} ${String(hour).padStart(15, "0")} ${series}`;
  return counts.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
}
