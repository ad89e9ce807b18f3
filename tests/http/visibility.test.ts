import { expect, test } from "bun:test";
import { createAdmin, createClient } from "../support/access-harness.ts";
import { Harness, WX } from "../support/harness.ts";

const PAGES = ["/swagger", "/swagger/json", "/swagger/ui.js", "/swagger/ui.css", "/swagger/start.js"];
const DOCUMENTS = [
  "/docs",
  "/docs/",
  "/docs/zh",
  "/docs/zh/",
  "/docs/README",
  "/docs/README.md",
  "/docs/style.css",
];

function setup(environment: Record<string, string> = {}): Promise<Harness> {
  return Harness.create({ environment });
}

/** The HTTP status, and the envelope's code where the answer is one. */
async function look(
  world: Harness,
  path: string,
  key?: string,
): Promise<[status: number, code: number | undefined]> {
  const headers: Record<string, string> = key ? { authorization: `Bearer ${key}` } : {};
  const response = await fetch(world.service.url + path, { headers });
  const text = await response.text();
  const isEnvelope = /^\{"code":/.test(text);
  return [response.status, isEnvelope ? (JSON.parse(text) as { code: number }).code : undefined];
}

async function reader(world: Harness): Promise<string> {
  return createClient(world, { name: "reader", grants: [{ apps: ["*"], actions: ["token:read"] }] });
}

test("metrics and documentation are shown to whoever is answered when nothing is set", async () => {
  await using world = await setup();
  for (const path of ["/metrics", ...PAGES, ...DOCUMENTS])
    expect([path, await look(world, path)]).toEqual([path, [200, undefined]]);
});

test("METRICS=admin shows the metrics to administrators alone", async () => {
  await using world = await setup({ METRICS: "admin" });
  expect(await look(world, "/metrics")).toEqual([403, 403]);
  const [admin, other] = [await createAdmin(world), await reader(world)];
  expect(await look(world, "/metrics", admin)).toEqual([200, undefined]);
  expect(await look(world, "/metrics", other)).toEqual([403, 403]);
  expect(await look(world, "/metrics")).toEqual([403, 403]);
  expect(await look(world, "/swagger/json", other)).toEqual([200, undefined]);
});

test("SWAGGER=admin shows the documentation and its files to administrators alone", async () => {
  await using world = await setup({ SWAGGER: "admin" });
  const [admin, other] = [await createAdmin(world), await reader(world)];
  for (const path of PAGES) {
    expect([path, await look(world, path, admin)]).toEqual([path, [200, undefined]]);
    expect([path, await look(world, path, other)]).toEqual([path, [200, 403]]);
    expect([path, await look(world, path)]).toEqual([path, [200, 403]]);
  }
  for (const path of DOCUMENTS) {
    expect([path, await look(world, path, admin)]).toEqual([path, [200, undefined]]);
    expect([path, await look(world, path, other)]).toEqual([path, [403, 403]]);
    expect([path, await look(world, path)]).toEqual([path, [403, 403]]);
  }
  expect(await look(world, "/metrics")).toEqual([200, undefined]);
});

test.each(["on", "admin"])(
  "with METRICS=%s a key shows the metrics only with metrics:read or admin",
  async (METRICS) => {
    await using world = await setup({ METRICS });
    const scraper = { name: "prometheus", grants: [{ apps: ["*"], actions: ["metrics:read"] as const }] };
    const [other, scrapes] = [await reader(world), await createClient(world, scraper)];
    expect(await look(world, "/metrics", other)).toEqual([403, 403]);
    expect(await look(world, "/metrics", scrapes)).toEqual([200, undefined]);
    expect(await look(world, "/metrics", await createAdmin(world))).toEqual([200, undefined]);
    expect(await look(world, "/metrics")).toEqual(METRICS === "on" ? [200, undefined] : [403, 403]);
    expect(await look(world, "/v1/clients", scrapes)).toEqual([403, 403]);
  },
);

test("METRICS=off leaves no metrics to anybody, and none in the description", async () => {
  await using world = await setup({ METRICS: "off" });
  const admin = await createAdmin(world);
  expect(await look(world, "/metrics", admin)).toEqual([404, 404]);
  expect((await world.request("/metrics", { method: "POST", headers: { "x-api-key": admin } })).code).toBe(
    404,
  );
  const response = await fetch(`${world.service.url}/swagger/json`, { headers: { "x-api-key": admin } });
  const { paths } = (await response.json()) as { paths: object };
  expect(paths).not.toHaveProperty(["/metrics"]);
  expect(paths).toHaveProperty(["/readyz"]);
});

test("SWAGGER=off leaves no documentation to anybody, and nothing speaks of it", async () => {
  await using world = await setup({ SWAGGER: "off" });
  const admin = await createAdmin(world);
  const unknown = await look(world, "/nope", admin);
  for (const path of PAGES) expect([path, await look(world, path, admin)]).toEqual([path, unknown]);
  for (const path of DOCUMENTS) expect([path, await look(world, path, admin)]).toEqual([path, [404, 404]]);
  const { data } = await world.get("/", {}, { headers: { "x-api-key": admin } });
  expect(Object.keys(data)).toEqual(["name", "version"]);
  expect(
    (await world.get("/AccessToken/getXcx", { appid: WX.appId }, { headers: { "x-api-key": admin } })).code,
  ).toBe(0);
});
