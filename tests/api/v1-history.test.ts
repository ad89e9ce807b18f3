import { expect, test } from "bun:test";
import { createClient } from "../support/access-harness.ts";
import { CORP, Harness, WECOM, WX } from "../support/harness.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const HISTORY = `/v1/apps/${WX.appId}/history`;
const TOKEN = `/v1/apps/${WX.appId}/credentials/access_token`;
const WECOM_APP = `${CORP}_${WECOM.agent}`;

async function setup() {
  const world = await Harness.create();
  const grants = [{ apps: ["*"], actions: ["view", "token:read", "api:call"] as const }];
  const key = await createClient(world, { name: "bot", grants });
  const ask = (path: string, asKey = key) => world.request(path, { headers: { "x-api-key": asKey } });
  /** Resolves when everything that happened is written, and past. */
  const written = async () => {
    await world.stop();
    await world.start();
    world.clock.advance(1);
  };
  const history = async (query: Record<string, string | number> = {}, path = HISTORY) => {
    await written();
    const text = Object.entries(query).map(([name, value]) => `${name}=${value}`);
    const { status, data } = await ask(`${path}?${text.join("&")}`);
    expect(status).toBe(200);
    return data;
  };
  const hour = () => world.clock.now() - (world.clock.now() % HOUR_MS);
  return { world, ask, written, history, hour, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

test("P7: an app's history has what was refreshed, handed out and called in each hour, by whom, and every attempt", async () => {
  await using it = await setup();
  const first = it.hour();
  for (let n = 0; n < 2; n++) await it.ask(TOKEN);
  const { data: token } = await it.ask(TOKEN);
  await it.ask(`/cgi-bin/get_api_domain_ip?access_token=${token["value"]}`);
  await it.written();
  it.world.clock.advance(3 * HOUR_MS);
  await it.ask(TOKEN);
  const data = await it.history();
  const last = first + 3 * HOUR_MS;
  expect(data["to"] - data["from"]).toBeWithin(DAY_MS, DAY_MS + HOUR_MS);
  expect([data["step"], data["from"] % HOUR_MS]).toEqual(["hour", 0]);
  expect(data["series"]).toEqual({
    refreshes: [
      [first, 1],
      [last, 1],
    ],
    failures: [],
    uses: [
      [first, 3],
      [last, 1],
    ],
    gateway: [[first, 1]],
    calls: [
      [first, 2],
      [last, 1],
    ],
  });
  expect(data["callers"]).toEqual([{ client: "bot", environment: "dev", uses: 5 }]);
  expect(data["attempts"]).toEqual([
    expect.objectContaining({ trigger: "on_demand", outcome: "ok", host: expect.any(String) }),
    expect.objectContaining({ kind: "access_token", generation: expect.any(Number) }),
  ]);
  expect(data["attempts"][0].at).toBeGreaterThan(data["attempts"][1].at);
  // By the day it is one point, and a period that was before has none.
  const day = await it.history({ step: "day" });
  expect(day["series"].uses).toEqual([[expect.any(Number), 4]]);
  expect((day["series"].uses[0][0] + 8 * HOUR_MS) % DAY_MS).toBe(0);
  const before = await it.history({ from: first - DAY_MS, to: first });
  expect([before["series"].uses, before["callers"], before["attempts"]]).toEqual([[], [], []]);
});

test("an attempt that WeChat refuses is shown with its errcode, and counted as a failure", async () => {
  await using it = await setup();
  it.world.sandbox.inject({ kind: "error", errcode: 40164, endpoint: "/cgi-bin/stable_token", times: 1 });
  await it.ask(TOKEN);
  const { series, attempts } = await it.history();
  expect([series.refreshes, series.failures]).toEqual([[], [[it.hour(), 1]]]);
  expect(attempts).toMatchObject([{ outcome: "upstream_rejected", errcode: 40164 }]);
  expect(attempts[0]).not.toHaveProperty("generation");
});

test("of a WeCom application the upstream calls are those of the whole corp, and everything else its own", async () => {
  await using it = await setup();
  for (const agent of [WECOM.agent, "contacts"])
    await it.ask(`/v1/apps/${CORP}_${agent}/credentials/access_token`);
  const { series, attempts } = await it.history({}, `/v1/apps/${WECOM_APP}/history`);
  expect([series.refreshes[0][1], series.uses[0][1], series.calls[0][1]]).toEqual([1, 1, 2]);
  expect(attempts).toHaveLength(1);
});

test("a long period has a point for each day, and one of too many points is refused", async () => {
  await using it = await setup();
  const to = it.world.clock.now();
  const stepOf = async (hours: number) =>
    (await it.ask(`${HISTORY}?from=${to - hours * HOUR_MS}`)).data["step"];
  expect([await stepOf(1499), await stepOf(1500)]).toEqual(["hour", "day"]);
  for (const query of [
    `step=hour&from=${to - 1501 * HOUR_MS}`,
    `step=day&from=0`,
    `from=${to}&to=${to}`,
    `from=${to + 1}`,
    "from=yesterday",
    "step=week",
  ])
    expect([query, (await it.ask(`${HISTORY}?${query}`)).status]).toEqual([query, 400]);
});

test("whoever has any grant on an app sees its history, but other callers and machines only by `view`; and nobody else", async () => {
  await using it = await setup();
  const ofOther = await createClient(it.world, {
    name: "other",
    grants: [{ apps: [WECOM_APP], actions: ["view"] }],
  });
  expect((await it.ask(HISTORY, ofOther)).status).toBe(403);
  expect((await it.ask(`/v1/apps/${WECOM_APP}/history`, ofOther)).status).toBe(200);
  const reader = await createClient(it.world, {
    name: "reader",
    grants: [{ apps: [WX.appId], actions: ["token:read"] }],
  });
  await it.ask(TOKEN);
  await it.written();
  const { data } = await it.ask(HISTORY, reader);
  expect([data["callers"], data["attempts"].length, data["attempts"][0].host]).toEqual([[], 1, undefined]);
  expect((await it.ask("/v1/apps/wx9999999999999999/history")).status).toBe(404);
});
