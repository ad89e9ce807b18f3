import { expect, test } from "bun:test";
import { GatewayMetrics } from "../../src/ops/gateway-metrics.ts";
import { MetricRegistry } from "../../src/ops/metrics.ts";
import { WX, WX_FOREIGN } from "../support/harness.ts";
import { GatewayHarness, WECOM_APP, WX_APP } from "../gateway/gateway-harness.ts";
import { type Exposition, parseExposition } from "./prometheus-text.ts";

const INFO = "/cgi-bin/user/get";
const SEND = "/cgi-bin/message/custom/send";
const CALLS = "accesstoken_gateway_calls_total";
const HEALS = "accesstoken_gateway_heals_total";

/** From this machine, which needs no key for it. */
async function scrape({ url }: GatewayHarness): Promise<Exposition> {
  return parseExposition(await (await fetch(`${url}/metrics`)).text());
}

function labelsOf(text: Exposition, name: string): string[] {
  return text.series
    .filter((each) => each.name === name && each.value > 0)
    .map(({ labels }) => Object.values(labels).join(" "));
}

test("calls are counted by client, app, family and outcome, and timed by family", async () => {
  await using it = await GatewayHarness.create({ client: { delivery: "virtual" } });
  const [token, wecom] = [await it.token(), await it.token(WECOM_APP)];
  await it.send(`${INFO}?access_token=${token}`);
  await it.send(`/cgi-bin/user/info?openid=x&access_token=${token}`);
  await it.send(`/card/made/up/by/callers?access_token=${token}`);
  await it.send(`/made/up/by/callers?access_token=${token}`);
  await it.send(`/gateway/${WECOM_APP}/cgi-bin/nope`, { headers: { "x-api-key": it.key } });
  await it.send(`/cgi-bin/department/list?access_token=${wecom}`);
  it.sandbox.inject({ kind: "reset_after", endpoint: SEND, times: 1 });
  await it.post(`${SEND}?access_token=${token}`, {});
  const text = await scrape(it);
  expect(labelsOf(text, CALLS).toSorted()).toEqual(
    [
      `program ${WX_APP} /cgi-bin/user ok`,
      `program ${WX_APP} /cgi-bin/user errcode`,
      `program ${WX_APP} /card errcode`,
      `program ${WX_APP} /cgi-bin/message upstream_invalid`,
      `program ${WECOM_APP} /cgi-bin upstream_invalid`,
      `program ${WECOM_APP} /cgi-bin/department ok`,
    ].toSorted(),
  );
  expect(text.value("accesstoken_gateway_duration_seconds_count", { family: "/cgi-bin/user" })).toBe(2);
});

test("what can go wrong is shown at 0 before it first does", async () => {
  await using it = await GatewayHarness.create({ client: { delivery: "virtual" } });
  const held = [WX_APP, WECOM_APP];
  const before = await scrape(it);
  for (const app of held) {
    for (const result of ["healed", "failed"]) expect(before.value(HEALS, { app, result })).toBe(0);
    expect(before.value("accesstoken_gateway_rejected_token_calls_total", { app })).toBe(0);
  }
  await it.send(`${INFO}?access_token=${await it.token()}`);
  const after = await scrape(it);
  const labels = { client: "program", app: WX_APP, family: "/cgi-bin/user" };
  expect(after.value(CALLS, { ...labels, outcome: "ok" })).toBe(1);
  for (const outcome of ["errcode", "upstream_invalid", "upstream_unreachable", "upstream_timeout"])
    expect(after.value(CALLS, { ...labels, outcome })).toBe(0);
});

test("each time that a call is sent up counts as an upstream call, and as one of the app's today", async () => {
  await using it = await GatewayHarness.create({ client: { delivery: "virtual" } });
  const token = await it.token();
  it.sandbox.killTokens(WX.appId);
  await it.send(`${INFO}?access_token=${token}`);
  const text = await scrape(it);
  const labels = { platform: "weixin", endpoint: "/cgi-bin/user" };
  expect(text.value("accesstoken_upstream_calls_total", { ...labels, outcome: "errcode" })).toBe(1);
  expect(text.value("accesstoken_upstream_calls_total", { ...labels, outcome: "ok" })).toBe(1);
  const { data } = await it.world.administer(`/v1/apps/${WX_APP}`);
  expect(data["calls_today"]).toMatchObject({ "/cgi-bin/user": { calls: 2 } });
});

test("heals are counted by app and by what came of them", async () => {
  await using it = await GatewayHarness.create({ client: { delivery: "virtual" } });
  const token = await it.token();
  it.sandbox.killTokens(WX.appId);
  await it.send(`${INFO}?access_token=${token}`);
  it.world.clock.advance(60_000);
  it.sandbox.killTokens(WX.appId);
  await it.post(`${SEND}?access_token=${token}`, { touser: "x".repeat(1 << 20) });
  await it.send(`${INFO}?access_token=${token}`);
  const text = await scrape(it);
  expect(text.value(HEALS, { app: WX_APP, result: "healed" })).toBe(1);
  expect(text.value(HEALS, { app: WX_APP, result: "failed" })).toBe(1);
});

test("P6: no address, no token and no app that is not held is a label", async () => {
  await using it = await GatewayHarness.create({ environment: { ANONYMOUS: "on" } });
  const token = await it.token();
  await it.send(`${INFO}?access_token=${token}`);
  const query = `grant_type=client_credential&appid=${WX_FOREIGN.appId}&secret=${WX_FOREIGN.secret}`;
  const { access_token: foreign } = JSON.parse((await it.send(`/cgi-bin/token?${query}`)).text) as {
    access_token: string;
  };
  await it.send(`${INFO}?access_token=${foreign}`);
  const text = await scrape(it);
  expect(labelsOf(text, CALLS)).toEqual([
    `(access token) ${WX_APP} /cgi-bin/user ok`,
    "(access token) (other) /cgi-bin/user ok",
  ]);
  expect(JSON.stringify(text.series)).not.toContain("127.0.0.1");
});

test("above a thousand apps no app is a label, and above a thousand clients no further one", () => {
  const registry = new MetricRegistry();
  const state = { apps: 1000 };
  const metrics = new GatewayMetrics(registry, {
    appCount: () => state.apps,
    listApps: () => ["wx1"],
    isHeldApp: () => true,
  });
  const called = {
    type: "gateway.called",
    app: "wx1",
    family: "/wxa",
    outcome: "ok",
    durationMs: 1,
  } as const;
  const count = (client: string) => metrics.count({ ...called, client, healing: "none" });
  for (let n = 0; n < 1500; n++) count(`client-${n}`);
  state.apps = 1001;
  count("client-0");
  const samples = registry.snapshot("1").metrics.find(({ name }) => name === CALLS)?.samples ?? [];
  const counted = samples.filter(({ value }) => value > 0);
  expect(counted).toHaveLength(1002);
  expect(counted.slice(-2)).toEqual([
    { labels: ["(other)", "wx1", "/wxa", "ok"], value: 500 },
    { labels: ["client-0", "", "/wxa", "ok"], value: 1 },
  ]);
});
