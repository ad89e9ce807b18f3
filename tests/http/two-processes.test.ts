import { expect, test } from "bun:test";
import { ask, binary, ProcessHarness } from "../support/process-harness.ts";
import { Harness, WX } from "../support/harness.ts";

const CLIENTS = "/v1/clients";
const BOT = "/v1/clients/bot";
const KEYS = `${BOT}/keys`;
const NEW = {
  client: "bot",
  environment: "dev",
  grants: [{ apps: [WX.appId], actions: ["token:read", "api:call"] }],
};
const TOKEN = `/v1/apps/${WX.appId}/credentials/access_token`;

/** Two services in processes of their own on one database, and an administrator who asks either. */
async function setupTwo() {
  const processes = new ProcessHarness(binary());
  const [one, other] = [await processes.serve(), await processes.serve()];
  const made = processes.run(["keys", "create", "--admin"]);
  expect(await made.exited()).toBe(0);
  const change = (method: string, path: string, body?: object, { url } = one) => {
    const headers = { "x-api-key": made.stdout.trim(), ...(body && { "content-type": "application/json" }) };
    return ask(url, path, {}, { method, headers, ...(body && { body: JSON.stringify(body) }) });
  };
  for (const service of [one, other])
    await Harness.until(async () => (await change("GET", CLIENTS, undefined, service)).status === 200);
  return { other, change, [Symbol.asyncDispose]: () => processes[Symbol.asyncDispose]() };
}

test("what one process has made another knows at once, so that an administrator may ask any of them", async () => {
  await using at = await setupTwo();
  const made = [at.other, undefined, at.other].map(
    (service) => () => at.change("POST", CLIENTS, NEW, service),
  );
  const statuses = [];
  for (const make of made) statuses.push((await make()).status);
  expect(statuses).toEqual([201, 200, 200]);
  expect((await at.change("PATCH", BOT, { environment: "prod" })).status).toBe(200);
  expect((await at.change("GET", BOT, undefined, at.other)).data).toMatchObject({
    environment: "prod",
  });
  const app = { platform: "weixin", app_id: "wx00000000000000dd", secret: "another-secret" };
  expect((await at.change("POST", "/v1/apps", app)).status).toBe(201);
  expect((await at.change("POST", "/v1/apps", app, at.other)).status).toBe(200);
  expect((await at.change("DELETE", "/v1/apps/wx00000000000000dd")).status).toBe(200);
  expect((await at.change("POST", "/v1/apps", app, at.other)).status).toBe(201);
});

test("an app's ETag is of its last version, whichever process changed it", async () => {
  await using at = await setupTwo();
  const { change, other } = at;
  const app = { platform: "weixin", app_id: "wx00000000000000dd", secret: "another-secret" };
  const path = `/v1/apps/${app.app_id}`;
  const missing = () => change("GET", path, undefined, other);
  expect((await missing()).status).toBe(404);
  expect((await change("POST", "/v1/apps", app)).status).toBe(201);
  for (let round = 1; round <= 10; round++) {
    const changed = await change("PATCH", path, { title: `title ${round}` });
    const shown = await change("GET", path, undefined, other);
    expect([shown.status, shown.headers.get("etag")]).toEqual([200, changed.headers.get("etag")]);
    const { data } = await change("GET", "/v1/apps", undefined, other);
    const titles = (data["apps"] as { title?: string }[]).map(({ title }) => title);
    expect(titles).toContain(`title ${round}`);
  }
});

test("a key that one process revokes no other serves a second later", async () => {
  await using at = await setupTwo();
  const { change, other } = at;
  expect((await change("POST", CLIENTS, NEW)).status).toBe(201);
  let tookMs = Infinity;
  // Up to three times, because a busy machine may hold either process up once.
  for (let round = 1; round <= 3 && tookMs >= 1000; round++) {
    const { data } = await change("POST", KEYS, { label: `${round}` });
    const get = () => ask(other.url, TOKEN, {}, { headers: { "x-api-key": String(data["api_key"]) } });
    await Harness.until(async () => (await get()).status === 200);
    expect((await change("DELETE", `${KEYS}/${data["key"]}`)).status).toBe(200);
    const since = performance.now();
    await Harness.until(async () => (await get()).status === 401);
    tookMs = performance.now() - since;
  }
  expect(tookMs).toBeLessThan(1000);
});
