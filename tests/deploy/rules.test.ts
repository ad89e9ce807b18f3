import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { createAdmin } from "../support/access-harness.ts";
import { CORP, Harness, WECOM, WX } from "../support/harness.ts";
import { promtool, readRules, RULES, runScenarios, type Scenario } from "./promtool.ts";

const TOKEN = "/cgi-bin/stable_token";
const HAS_PROMTOOL = Bun.which("promtool") !== null || process.env["CI"] !== undefined;

type Told = Pick<Scenario, "scrapes" | "now">;

/** A service that Prometheus sees at minute 0, and again after what happens then. */
async function setup() {
  const world = await Harness.create();
  const startedAt = world.clock.now();
  const scrapes: { minute: number; text: string }[] = [];
  const scrape = async () => {
    const seen = await (await fetch(`${world.service.url}/metrics`)).text();
    // How busy the machine of the tests is is nothing that happens to the service.
    const text = seen.replaceAll(/^(accesstoken_event_loop_lag_seconds\{.*\}) .*$/gm, "$1 0");
    scrapes.push({ minute: Math.round((world.clock.now() - startedAt) / 60_000), text });
  };
  await scrape();
  return {
    world,
    scrape,
    pass: (minutes: number) => world.clock.advance(minutes * 60_000),
    getXcx: () => world.get("/AccessToken/getXcx", { appid: WX.appId }),
    told: (): Told => ({ scrapes, now: startedAt / 1000 }),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

type World = Awaited<ReturnType<typeof setup>>;

/** What a service tells while `happens`. */
async function seen(happens: (t: World) => Promise<void>): Promise<Told> {
  await using t = await setup();
  await happens(t);
  return t.told();
}

/** What really happens to a service, and which alerts that makes at which minute. */
const HAPPENINGS: readonly {
  readonly name: string;
  readonly happens: (t: World) => Promise<void>;
  readonly fires: Scenario["fires"];
}[] = [
  {
    name: "favicons, unknown paths and ninety wrong keys are nobody's emergency",
    happens: async (t) => {
      await t.getXcx();
      t.pass(1);
      for (let n = 0; n < 90; n++) {
        await t.world.get("/favicon.ico");
        await t.world.get("/no-such-page");
        await t.world.request("/v1/apps", { headers: { authorization: `Bearer ats_wrong${n}` } });
      }
      await t.world.get("/AccessToken/getXcx", { appid: "" });
      await t.scrape();
    },
    fires: [1, 2, 5, 15].map((minute) => ({ minute, alerts: [] })),
  },
  {
    name: "the first refusal that an operator must act on",
    happens: async (t) => {
      t.pass(1);
      t.world.sandbox.inject({ kind: "error", errcode: 40164, endpoint: TOKEN, times: 1 });
      await t.getXcx();
      await t.scrape();
    },
    fires: [
      { minute: 0, alerts: [] },
      { minute: 1, alerts: ["AppBlocked"] },
    ],
  },
  {
    name: "a refusal that passes by itself",
    happens: async (t) => {
      t.pass(1);
      t.world.sandbox.inject({ kind: "error", errcode: 45011, endpoint: TOKEN, times: 1 });
      await t.getXcx();
      await t.scrape();
    },
    fires: [{ minute: 1, alerts: [] }],
  },
  {
    name: "a token that another program has revoked",
    happens: async (t) => {
      const { data } = await t.getXcx();
      t.pass(1);
      t.world.sandbox.killTokens(WX.appId, { unnoticed: true });
      const query = { appid: WX.appId, access_token: String(data["access_token"]) };
      await t.world.get("/AccessToken/clearXcx", query);
      await t.getXcx();
      await t.scrape();
    },
    fires: [{ minute: 1, alerts: ["RevokedEarly"] }],
  },
  {
    name: "WeChat that gives no usable answer, with a token about to expire",
    happens: async (t) => {
      await t.getXcx();
      t.world.sandbox.inject({ kind: "empty_body", times: Infinity });
      t.pass(110);
      await t.scrape();
      for (let n = 0; n < 12; n++) {
        t.pass(1);
        await t.getXcx();
        await t.world.get("/AccessToken/getQyapi", { corpid: CORP, agentid: WECOM.agent });
        await t.world.service.tick();
        await t.scrape();
      }
    },
    fires: [
      { minute: 110, alerts: ["BackupStale"] },
      {
        minute: 118,
        alerts: ["BackupStale", "CallersGetErrors", "CredentialLapsing", "UpstreamFailing"],
      },
    ],
  },
  {
    name: "a program that goes on with a wrong key",
    happens: async (t) => {
      t.pass(1);
      for (let n = 0; n < 130; n++)
        await t.world.request("/v1/apps", { headers: { authorization: "Bearer ats_wrong" } });
      await t.scrape();
    },
    fires: [{ minute: 1, alerts: ["WrongKeys"] }],
  },
  {
    name: "an audit that somebody has changed",
    happens: async (t) => {
      await createAdmin(t.world);
      t.pass(1);
      const database = new Database(t.world.databasePath);
      database.run("UPDATE audit_entries SET outcome = 'x' WHERE id = 1");
      database.close();
      await t.world.administer("/v1/audit/verify");
      await t.scrape();
    },
    fires: [{ minute: 1, alerts: ["AuditBroken"] }],
  },
];

type Altered = Omit<Scenario, "scrapes" | "now"> & Partial<Pick<Scenario, "scrapes">>;

/** What else a Prometheus may see of a service, on top of what one in order tells. */
function alterations(): readonly Altered[] {
  const gateway = `client="admin",app="${WX.appId}",family="/cgi-bin/user"`;
  const one = (minute: number, ...alerts: string[]) => [{ minute, alerts }];
  const late = Object.fromEntries(
    ["2.5", "5", "10", "+Inf"].map((le) => [
      `accesstoken_change_delay_seconds_bucket{le="${le}"}`,
      "0+100x20",
    ]),
  );
  const altered = (
    name: string,
    changed: Readonly<Record<string, string>>,
    fires: Scenario["fires"],
  ): Altered => ({ name, changed, fires });
  return [
    { name: "no answer", up: "1+0x4 0+0x10", fires: [...one(5), ...one(7, "Down")] },
    { name: "never a backup", fires: [...one(30), ...one(62, "BackupStale")] },
    {
      name: "no backup for 36 hours",
      scrapes: [],
      added: { accesstoken_backup_last_success_timestamp_seconds: "60+0x2300" },
      fires: [...one(2150), ...one(2250, "BackupStale")],
    },
    altered(
      "a quota that is nearly used",
      { [`accesstoken_quota_used_ratio{app="${WX.appId}",endpoint="${TOKEN}"}`]: "0.79 0.8" },
      [...one(0), ...one(1, "QuotaNearlyUsed")],
    ),
    altered(
      "a call whose answer was lost",
      { [`accesstoken_gateway_calls_total{${gateway},outcome="upstream_timeout"}`]: "0 1" },
      one(1, "OutcomeUnknown"),
    ),
    altered(
      "a program that goes on with a rejected token",
      { [`accesstoken_gateway_rejected_token_calls_total{app="${WX.appId}"}`]: "0 1" },
      one(1, "RejectedTokenUsed"),
    ),
    altered(
      "a push that nobody takes",
      { accesstoken_dead_deliveries_total: "0 1" },
      one(1, "PushesUndelivered"),
    ),
    altered(
      "an audit that can't be written",
      { accesstoken_audit_failures_total: "0 1" },
      one(1, "AuditFailing"),
    ),
    altered("a database that is away", { 'accesstoken_store_errors_total{code="away"}': "0 1+0x9" }, [
      ...one(2),
      ...one(4, "StoreFailing"),
    ]),
    altered("a full disk", { 'accesstoken_store_errors_total{code="refused"}': "0 1+0x9" }, [
      ...one(1),
      ...one(3, "StoreReadOnly"),
    ]),
    altered("a busy database", { 'accesstoken_store_errors_total{code="busy"}': "0+9x9" }, one(9)),
    {
      name: "tickets that no longer come to a component",
      added: { 'accesstoken_platform_ticket_age_seconds{platform="wx00000000000000c1"}': "1740+60x9" },
      fires: [...one(0), ...one(1, "TicketMissing")],
    },
    {
      name: "tickets that no longer come to a suite",
      added: { 'accesstoken_platform_ticket_age_seconds{platform="ww00000000000000d1"}': "840+60x9" },
      fires: [...one(0), ...one(1, "TicketMissing")],
    },
    {
      name: "an authorization that is lost",
      added: { 'accesstoken_authorizations{platform="wx00000000000000c1",state="lost"}': "0 1" },
      fires: [...one(0), ...one(1, "AuthorizationLost")],
    },
    altered("a process that is gone", { accesstoken_nodes: "3+0x29 2+0x10" }, [
      ...one(29),
      ...one(33, "NodeMissing"),
    ]),
    altered("a process more", { accesstoken_nodes: "3+0x29 4+0x10 3+0x10" }, [...one(33), ...one(45)]),
    altered("late changes", late, [...one(3), ...one(9, "ChangesLate")]),
    {
      name: "a pooler",
      added: { 'accesstoken_listen_up{worker="1"}': "0+0x9" },
      fires: one(9, "NotListening"),
    },
    {
      name: "a wrong clock",
      added: { 'accesstoken_store_clock_offset_seconds{worker="1"}': "-31+0x9" },
      fires: one(9, "ClockSkewed"),
    },
    altered("too much load", { 'accesstoken_event_loop_lag_seconds{worker="1"}': "2+0x9" }, one(9, "Slow")),
  ];
}

test.skipIf(!HAS_PROMTOOL)(
  "promtool takes the rules, and each says what it is in both languages",
  async () => {
    expect(await promtool("check", "rules", "--lint-fatal", RULES)).toMatchObject({ isOk: true });
    for (const { alert, labels, annotations } of await readRules()) {
      expect([alert, labels["severity"]]).toEqual([
        alert,
        expect.stringMatching(/^(critical|warning|info)$/),
      ]);
      expect(annotations).toEqual({
        summary: expect.stringMatching(/^[\x20-\x7e]+$/),
        summary_zh: expect.stringMatching(/\p{Script=Han}/u),
        runbook_url: `https://token.example.com/docs/runbook#${alert.toLowerCase()}`,
      });
    }
  },
);

test.skipIf(!HAS_PROMTOOL)(
  "every alert fires when it should, at what a real service tells, and no other does",
  async () => {
    const real: Scenario[] = [];
    for (const { happens, ...scenario } of HAPPENINGS) real.push({ ...scenario, ...(await seen(happens)) });
    const inOrder = await seen(async (t) => {
      await t.getXcx();
      const headers = { authorization: `Bearer ${await createAdmin(t.world)}` };
      await fetch(`${t.world.service.url}/gateway/${WX.appId}/cgi-bin/user/get`, { headers });
      const hasAll = async () => {
        const text = await (await fetch(`${t.world.service.url}/metrics`)).text();
        return /quota_used_ratio\{/.test(text);
      };
      await Harness.until(hasAll);
      await t.scrape();
    });
    const [, after] = inOrder.scrapes;
    const told = { now: inOrder.now, scrapes: [{ minute: 0, text: after?.text ?? "" }] };
    const altered = alterations().map((each) => ({ ...told, ...each }));
    await using t = await setup();
    expect(await runScenarios([...real, ...altered], t.world.folder)).toBe("");
    const fired = [...real, ...altered].flatMap(({ fires }) => fires.flatMap(({ alerts }) => alerts));
    const all = (await readRules()).map(({ alert }) => alert.replace("AccessToken", ""));
    expect(all.filter((alert) => !fired.includes(alert))).toEqual([]);
  },
);
