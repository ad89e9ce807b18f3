import { expect, test } from "bun:test";
import { attachCall } from "../../src/api/face.ts";
import { type OverviewRouteParts, overviewRoutes } from "../../src/api/v1-overview.ts";
import { APP_STATES, type AppState } from "../../src/credentials/status.ts";
import { call } from "../support/callers.ts";
import { ManualClock } from "../support/manual-clock.ts";

/** A service without apps, which counts how often it is looked through. */
function setup({ seesAll }: { readonly seesAll: boolean }) {
  const looked = { count: 0 };
  const none = async () => [];
  const counts = async () => {
    looked.count += 1;
    return Object.fromEntries(APP_STATES.map((state) => [state, looked.count])) as Record<AppState, number>;
  };
  const parts = {
    access: { visibleApps: () => () => seesAll, appsFor: () => () => seesAll, checkKnown: () => undefined },
    administration: { refresh: async () => undefined },
    directory: {},
    states: { ofApps: none },
    index: {
      ...{ counts, shortestLives: none, fullestQuotas: none, foreignRefreshes: none },
      page: async () => ({ names: [], next: undefined }),
    },
    auditStore: { sumMinutes: none },
    clients: { list: () => [] },
    queue: { figures: async () => ({ dead: 0 }) },
    ops: { notReady: none, backups: async () => ({ isStale: false }) },
    ...{ listNodes: none, platforms: none, database: "SQLite", clock: new ManualClock() },
  };
  const routes = overviewRoutes(parts as unknown as OverviewRouteParts);
  const ask = async () => {
    const request = new Request("http://localhost/v1/overview");
    attachCall(call(request));
    const answer = (await (await routes.handle(request)).json()) as { counts: { fresh: number } };
    return answer.counts.fresh;
  };
  return { ask: (times: number) => Promise.all(Array.from({ length: times }, ask)), looked };
}

test("who may see everything and asks at once shares an overview that began after the question", async () => {
  const { ask, looked } = setup({ seesAll: true });
  await ask(50);
  expect(looked.count).toBeLessThanOrEqual(2);
  const before = looked.count;
  expect((await ask(1))[0]).toBe(before + 1);
});

test("who may see some apps alone has an overview of its own", async () => {
  const { ask, looked } = setup({ seesAll: false });
  await ask(5);
  expect(looked.count).toBe(5);
});
