import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../bench/bench-server.ts";
import { createAdmin } from "../support/access-harness.ts";
import { Child } from "../support/child.ts";
import { Harness, WX } from "../support/harness.ts";
import { DEPLOY, readRules, RULES } from "./promtool.ts";

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly datasource?: { readonly uid: string };
  readonly targets?: readonly { readonly refId: string; readonly expr: string }[];
}

interface Dashboard {
  readonly uid: string;
  readonly schemaVersion: number;
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] };
  readonly panels: readonly Panel[];
}

const DASHBOARD = (await Bun.file(join(DEPLOY, "grafana/accesstoken.json")).json()) as Dashboard;
const TARGETS = DASHBOARD.panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr }) => ({ title, expr })),
);

test("the dashboard has its variables, its rows and about twenty panels", () => {
  const { uid, schemaVersion, templating, panels } = DASHBOARD;
  expect([uid, schemaVersion > 30]).toEqual(["accesstoken", true]);
  expect(templating.list.map(({ name, type }) => `${name} ${type}`)).toEqual([
    "datasource datasource",
    "job query",
    "app query",
  ]);
  const rows = panels.filter(({ type }) => type === "row").map(({ title }) => title);
  expect(rows).toEqual([
    ...["Health", "Credentials", "Callers", "Upstream and quota", "Gateway and pushes", "Cluster and store"],
  ]);
  expect(panels.length - rows.length).toBeWithin(20, 26);
  const [, ...health] = panels.slice(0, 7);
  expect(health.map(({ type }) => type)).toEqual(Array.from({ length: 6 }, () => "stat"));
});

test("no two panels have one id or lie on each other, and each has its data source", () => {
  const { panels } = DASHBOARD;
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const taken = new Map<string, string>();
  for (const { title, type, gridPos, datasource, targets = [] } of panels) {
    const { x, y, w, h } = gridPos;
    expect([title, x >= 0 && x + w <= 24 && w > 0 && h > 0]).toEqual([title, true]);
    for (let column = x; column < x + w; column++)
      for (let line = y; line < y + h; line++) {
        const place = `${column} ${line}`;
        expect([title, taken.get(place)]).toEqual([title, undefined]);
        taken.set(place, title);
      }
    if (type === "row") continue;
    expect([title, datasource?.uid, targets.length > 0]).toEqual([title, "${datasource}", true]);
    expect(new Set(targets.map(({ refId }) => refId)).size).toBe(targets.length);
  }
});

test("every expression is of the chosen job, and names no variable that there is not", () => {
  for (const { title, expr } of TARGETS) {
    for (const [, selector] of expr.matchAll(/(?:accesstoken_\w+|up)(\{[^}]*\})?/g))
      expect([title, selector]).toEqual([title, expect.stringContaining('job=~"$job"')]);
    const variables = [...expr.matchAll(/\$(\w+)/g)].map(([, name]) => name);
    expect(variables.filter((name) => !/^(job|app|__rate_interval)$/.test(name ?? ""))).toEqual([]);
  }
});

/** Panels of what has not happened to a service that is in order, or does not happen on SQLite. */
const QUIET = /backup_last_success|> 0$|> 0\)$|change_delay|lease_wait|clock_offset/;

interface Answer<Data> {
  readonly status: string;
  readonly error?: string;
  readonly data: Data;
}

/** A real Prometheus that scrapes the service every second, with the rules that we ship. */
async function startPrometheus(url: string, folder: string) {
  const port = freePort();
  const config = {
    global: { scrape_interval: "1s", evaluation_interval: "1s" },
    rule_files: [RULES],
    scrape_configs: [{ job_name: "accesstoken", static_configs: [{ targets: [new URL(url).host] }] }],
  };
  // JSON is YAML.
  writeFileSync(join(folder, "prometheus.yml"), JSON.stringify(config));
  const flags = ["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"];
  const child = new Child(["prometheus", ...flags, `--web.listen-address=127.0.0.1:${port}`], {
    cwd: folder,
  });
  const ask = async <Data>(path: string): Promise<Answer<Data>> =>
    (await fetch(`http://127.0.0.1:${port}/api/v1/${path}`)).json() as Promise<Answer<Data>>;
  const isReady = () =>
    fetch(`http://127.0.0.1:${port}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  await Harness.until(isReady);
  return {
    query: (expr: string) => ask<{ result: unknown[] }>(`query?query=${encodeURIComponent(expr)}`),
    rules: () =>
      ask<{ groups: { rules: { name: string; health: string; lastError?: string; state: string }[] }[] }>(
        "rules",
      ),
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}

test.skipIf(Bun.which("prometheus") === null && process.env["CI"] === undefined)(
  "a Prometheus that scrapes a real service finds something for every panel, and the first refusal fires",
  async () => {
    await using world = await Harness.create();
    await world.get("/AccessToken/getXcx", { appid: WX.appId });
    const headers = { authorization: `Bearer ${await createAdmin(world)}` };
    await fetch(`${world.service.url}/gateway/${WX.appId}/cgi-bin/user/get`, { headers });
    await using prometheus = await startPrometheus(world.service.url, world.folder);
    const hasSome = async (expr: string) => (await prometheus.query(expr)).data.result.length > 0;
    // A rate needs two scrapes, and calls are counted a moment after they are made.
    await Harness.until(() =>
      hasSome("count_over_time(up[1m]) > 3 and on () accesstoken_quota_used_ratio > 0"),
    );
    // The world's clock stands still elsewhere than Prometheus'.
    const skew = `${world.clock.now() / 1000}`;
    for (const { title, expr } of TARGETS) {
      const asked = expr
        .replaceAll("$job", "accesstoken")
        .replaceAll("$app", ".*")
        .replaceAll("$__rate_interval", "1m")
        .replaceAll("time()", skew);
      const { status, error, data } = await prometheus.query(asked);
      expect([title, status, error]).toEqual([title, "success", undefined]);
      const isQuiet = QUIET.test(expr);
      expect([title, expr, isQuiet || data.result.length > 0]).toEqual([title, expr, true]);
    }
    const standing = async () => (await prometheus.rules()).data.groups.flatMap(({ rules }) => rules);
    await Harness.until(async () => (await standing()).every(({ health }) => health === "ok"));
    const all = (await readRules()).map(({ alert }) => alert);
    expect((await standing()).map(({ name }) => name)).toEqual(all);
    world.sandbox.inject({ kind: "error", errcode: 40164, host: "weixin", times: Infinity });
    await world.administer(`/v1/apps/${WX.appId}/credentials/jsapi_ticket`);
    await Harness.until(async () =>
      (await standing()).some(({ name, state }) => name === "AccessTokenAppBlocked" && state === "firing"),
    );
  },
);
