import { expect } from "bun:test";
import { Harness } from "../support/harness.ts";
import { ask } from "../support/process-harness.ts";
import { PostgresServer, postgresTest as test } from "../support/postgres-server.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { ClusterHarness } from "./cluster-harness.ts";

/** A node that reaches the database by way of a line of its own, and one that does so directly. */
async function setup(env: Record<string, string> = {}) {
  const cluster = await ClusterHarness.create();
  const proxy = await TcpProxy.start(cluster.server.port);
  const [near, far] = await Promise.all([
    cluster.serve(env),
    cluster.serve({ ...env, DATABASE_URL: proxy.through(cluster.databaseUrl) }),
  ]);
  const dispose = async () => {
    proxy[Symbol.dispose]();
    await cluster[Symbol.asyncDispose]();
  };
  return { cluster, proxy, near, far, [Symbol.asyncDispose]: dispose };
}

const token = async (url: string, appid: string) => {
  const { code, data } = await ask(url, "/AccessToken/getXcx", { appid });
  return code === 0 ? String(data["access_token"]) : `code ${code}`;
};
const isReady = async (url: string) => (await ask(url, "/readyz")).status === 200;

test("P4: a node that is cut from the database goes on with what it had, is not ready, and catches up when it is back", async () => {
  await using it = await setup();
  const [app = "", cold = ""] = it.cluster.apps;
  const warm = await token(it.far.url, app);
  expect(await token(it.near.url, app)).toBe(warm);
  let ms = Infinity;
  // Up to three times, because a busy machine may hold the process up once.
  for (let round = 1; round <= 3 && ms > 5000; round++) {
    it.proxy.restore();
    await Harness.until(() => isReady(it.far.url));
    it.proxy.halt();
    const since = performance.now();
    await Harness.until(async () => !(await isReady(it.far.url)));
    ms = performance.now() - since;
  }
  expect(ms).toBeLessThan(5000);
  for (let n = 0; n < 50; n++) expect(await token(it.far.url, app)).toBe(warm);
  expect(await token(it.far.url, cold)).toBe("code 503");
  // Meanwhile the others go on.
  it.cluster.sandbox.killTokens(app);
  expect((await ask(it.near.url, "/AccessToken/clearXcx", { appid: app })).code).toBe(0);
  const next = await token(it.near.url, app);
  expect(next).not.toBe(warm);
  it.proxy.restore();
  await Harness.until(async () => (await isReady(it.far.url)) && (await token(it.far.url, app)) === next);
}, 60_000);

test("a node that is cut from the database for longer than CUT_OFF_AFTER hands out nothing, and says why", async () => {
  await using it = await setup({ CUT_OFF_AFTER: "2" });
  const [app = ""] = it.cluster.apps;
  const warm = await token(it.far.url, app);
  it.proxy.cut();
  await Harness.until(async () => (await token(it.far.url, app)) === "code 503");
  const refused = await ask(it.far.url, "/v1/apps");
  expect(refused).toMatchObject({ status: 503, code: 503 });
  expect(refused.msg).toContain("for too long");
  expect((await ask(it.far.url, "/livez")).status).toBe(200);
  expect((await ask(it.far.url, "/readyz")).data["reasons"]).toMatchObject([{ part: "database" }]);
  it.proxy.restore();
  await Harness.until(async () => (await token(it.far.url, app)) === warm);
}, 60_000);

test("P4: a restart of the database fails no warm read, and the service recovers by itself", async () => {
  const server = PostgresServer.start();
  await using cluster = await ClusterHarness.create({ server: await server });
  const { url, service } = await cluster.serve();
  const [app = "", cold = ""] = cluster.apps;
  const warm = await token(url, app);
  const answers = new Set<string>();
  const over = new AbortController();
  const reading = (async () => {
    while (!over.signal.aborted) answers.add(await token(url, app));
  })();
  for (let round = 1; round <= 2; round++) {
    await cluster.server.signal(round === 1 ? "SIGINT" : "SIGQUIT");
    await Harness.until(async () => !(await isReady(url)));
    expect(await token(url, cold)).toBe("code 503");
    await cluster.server.resume();
    await Harness.until(() => isReady(url));
  }
  over.abort();
  await reading;
  expect([...answers]).toEqual([warm]);
  expect((await token(url, cold)).length).toBeGreaterThan(20);
  expect(service.stdout).not.toContain('"level":"fatal"');
  cluster.server.stop();
}, 90_000);
