import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { COMPONENT, PlatformProcesses } from "../platforms/platform-processes.ts";
import { Harness } from "../support/harness.ts";
import { PostgresServer, postgresTest } from "../support/postgres-server.ts";
import { binary } from "../support/process-harness.ts";

const ACCOUNTS = 4;
/** So long an exchange takes, so that who comes at the same time finds it under way. */
const SLOW_MS = 100;
/** So late at the most a process sees what another has changed; beside other tests twice that. */
const SEEN_MS = 2400;
const path = (name: string) => `/cgi-bin/component/${name}`;

test("P1: four processes on one database of a machine mint one component token, exchange each code once, and are one platform", async () => {
  await using world = new PlatformProcesses(binary(), { accounts: ACCOUNTS, switches: ROTATING });
  await onePlatform(world, 4);
}, 60_000);

postgresTest(
  "P1: so do two nodes on PostgreSQL",
  async () => {
    const DATABASE_URL = await (await PostgresServer.shared()).createDatabase();
    const env = { DATABASE_URL, MASTER_KEY_FILE: "master.key" };
    await using world = new PlatformProcesses(binary(), { accounts: ACCOUNTS, switches: ROTATING, env });
    world.write("master.key", randomBytes(32).toString("hex"));
    await onePlatform(world, 2);
  },
  120_000,
);

const ROTATING = { refreshTokens: "rotate" } as const;

/** What `count` processes share of a platform. */
async function onePlatform(world: PlatformProcesses, count: number): Promise<void> {
  const { sandbox, component } = world;
  await world.makeAdmin();
  const nodes = await Promise.all(Array.from({ length: count }, () => world.serve({ PORT: "0" })));
  const urls = nodes.map(({ url }) => url);
  const [first = "", last = ""] = [urls[0], urls.at(-1)];
  await world.prepare(first);
  const codes = (app: string, kind?: string) =>
    Promise.all(urls.map(async (url) => (await world.token(url, app, kind)).code));
  // Everybody knows the program and the platform, which has no ticket yet.
  await Harness.until(async () =>
    (await codes(COMPONENT, "component_access_token")).every((code) => code === 503),
  );

  /** The one token that all have, who ask at the same time. */
  const tokenOf = async (app: string, kind = "access_token", from = urls): Promise<string> => {
    const asked = [...from, ...from, ...from].map((url) => world.token(url, app, kind));
    const answers = (await Promise.all(asked)).map(({ code, msg, data }) =>
      code === 0 ? data["value"] : msg,
    );
    const [value, another] = [...new Set(answers)].map(String);
    expect({ app, another, isGood: sandbox.accepts(value ?? "") }).toEqual({
      app,
      another: undefined,
      isGood: true,
    });
    return value ?? "";
  };
  world.turnTo(first);
  expect(await component.pushTicket()).toMatchObject({ accepted: true });
  // The ticket that one of them has taken is good for the others.
  await tokenOf(COMPONENT, "component_access_token", urls.slice(1));
  await tokenOf(COMPONENT, "component_access_token");
  expect(sandbox.calls(path("api_component_token"))).toBe(1);

  // Each code comes to one by push and to another by the browser, at the same time.
  const state = await world.linkState(first);
  await Harness.until(async () => (await fetch(`${last}/connect/authorize/${state}`)).status === 200);
  sandbox.inject({ kind: "delay", endpoint: path("api_query_auth"), ms: SLOW_MS, times: ACCOUNTS });
  const given = await Promise.all(
    world.accounts.map(async (account) => {
      const { code, sendPush } = await component.authorize(account, { send: "neither" });
      const [push, status] = await Promise.all([sendPush(), world.comeBack(last, state, code)]);
      expect([push.accepted, status]).toEqual([true, 200]);
      return code;
    }),
  );
  expect(given.map((code) => component.component.timesBrought(code))).toEqual(given.map(() => 1));
  const names = world.accounts.map((account) => `${account}_${COMPONENT}`);
  const known = async () => (await Promise.all(names.map((name) => codes(name)))).flat();
  await Harness.until(async () => (await known()).every((code) => code === 0));
  const before = new Map<string, string>();
  for (const name of names) before.set(name, await tokenOf(name));
  const refreshed = sandbox.calls(path("api_authorizer_token"));

  // Their lives are over, and everybody asks for them at once.
  const cleared = `credentials/access_token`;
  for (const name of names) await world.administer(first, `/v1/apps/${name}/${cleared}`, "DELETE");
  // One that has not heard of it yet gives the one before.
  const values = async (name: string) =>
    new Set(
      (await Promise.all(urls.map((url) => world.token(url, name)))).map(({ data }) => String(data["value"])),
    );
  const isAnother = async (name: string) => {
    const [value = "", another] = await values(name);
    return another === undefined && value !== before.get(name) && sandbox.accepts(value);
  };
  await Promise.all(names.map((name) => Harness.until(() => isAnother(name))));
  expect(sandbox.calls(path("api_authorizer_token")) - refreshed).toBe(ACCOUNTS);

  // What one is told of an end, the others obey.
  world.turnTo(first);
  const [account = ""] = world.accounts;
  expect(await component.unauthorize(account)).toMatchObject({ accepted: true });
  const at = performance.now();
  const isEnded = async () => (await codes(names[0] ?? "")).every((code) => code !== 0);
  await Harness.until(isEnded, SEEN_MS);
  expect(performance.now() - at).toBeLessThan(SEEN_MS);
  expect(sandbox.calls(path("api_component_token"))).toBe(1);
}
