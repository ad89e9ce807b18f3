import { expect, test } from "bun:test";
import { createAdmin, createClient } from "../support/access-harness.ts";
import { ConsolePage } from "../support/console-page.ts";
import { EventStreamReader } from "../support/event-stream.ts";
import { CORP, Harness, WX } from "../support/harness.ts";

const WECOM = `${CORP}_1000002`;

/** A world with an administrator, and with streams that end with it. */
async function setup() {
  const world = await Harness.create();
  const admin = await createAdmin(world);
  const streams = new DisposableStack();
  const asAdmin = (path: string, init: RequestInit = {}) =>
    world.request(path, { ...init, headers: { "x-api-key": admin, "content-type": "application/json" } });
  return {
    world,
    admin,
    url: () => world.service.url,
    open: async (caller?: string | Record<string, string>, lastId?: string) =>
      streams.use(await EventStreamReader.open(world.service.url, caller, lastId)),
    /** Has a credential fetched that there was none of. */
    fetchFirst: (app = WX.appId, kind = "access_token") => asAdmin(`/v1/apps/${app}/credentials/${kind}`),
    clear: (app = WX.appId, kind = "access_token") =>
      asAdmin(`/v1/apps/${app}/credentials/${kind}`, { method: "DELETE" }),
    asAdmin,
    revoke: (client: string, key: string) =>
      asAdmin(`/v1/clients/${client}/keys/${key.slice(0, 12)}`, { method: "DELETE" }),
    /** Gives a client other grants, or changes something else of it. */
    change: (client: string, body: object) =>
      asAdmin(`/v1/clients/${client}`, { method: "PATCH", body: JSON.stringify(body) }),
    async [Symbol.asyncDispose]() {
      streams.dispose();
      await world[Symbol.asyncDispose]();
    },
  };
}

const reader = (app: string, name = "bot") => ({
  name,
  grants: [{ apps: [app], actions: ["token:read" as const] }],
});

test("a stream tells of a new credential by name, state, generation and end, and not its value", async () => {
  await using it = await setup();
  const stream = await it.open(it.admin);
  const { data } = await it.fetchFirst();
  const [event] = await stream.until(1);
  const now = it.world.clock.now();
  expect(event).toEqual({
    type: "credential",
    data: {
      app: WX.appId,
      kind: "access_token",
      generation: now,
      state: "fresh",
      expires_at: data["expires_at"],
    },
    lastId: expect.stringMatching(/^\d+(\.\d+){5}$/),
  });
  expect(JSON.stringify(stream.events)).not.toContain(data["value"]);
});

test("a stream is sent as proxies pass it on at once, and says when to come back", async () => {
  await using it = await setup();
  const stream = await it.open(it.admin);
  expect(stream.status).toBe(200);
  expect(Object.fromEntries(stream.headers)).toMatchObject({
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store, no-transform",
    "x-accel-buffering": "no",
    "x-content-type-options": "nosniff",
    "trace-id": expect.any(String),
  });
  expect(stream.retryMs).toBeWithin(2000, 5001);
});

test("a HEAD of the events answers at once, and opens no stream", async () => {
  await using it = await setup();
  const response = await fetch(`${it.url()}/v1/events`, {
    method: "HEAD",
    headers: { "x-api-key": it.admin },
  });
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toStartWith("text/event-stream");
});

test("a cleared credential is told of as none", async () => {
  await using it = await setup();
  await it.fetchFirst();
  const stream = await it.open(it.admin);
  await it.clear();
  const [event] = await stream.until(1);
  expect(event?.data).toMatchObject({ app: WX.appId, kind: "access_token", state: "none" });
  expect(event?.data).not.toHaveProperty("expires_at");
});

test("a client hears of the apps that it has a grant for alone", async () => {
  await using it = await setup();
  const key = await createClient(it.world, reader(WECOM));
  const [all, own] = [await it.open(it.admin), await it.open(key)];
  await it.fetchFirst(WX.appId);
  await all.until(1);
  await it.fetchFirst(WECOM);
  await all.until(2);
  await own.until(1);
  expect(own.told).toEqual([`credential ${WECOM} access_token`]);
});

test("a client that loses an app hears that its grants have changed, and no more of that app", async () => {
  await using it = await setup();
  const key = await createClient(it.world, {
    name: "bot",
    grants: [{ apps: [WX.appId, WECOM], actions: ["token:read"] }],
  });
  const stream = await it.open(key);
  await it.change("bot", { grants: [{ apps: [WECOM], actions: ["token:read"] }] });
  await stream.until(1);
  await it.fetchFirst(WX.appId);
  await it.fetchFirst(WECOM);
  await stream.until(2);
  expect(stream.told).toEqual(["client", `credential ${WECOM} access_token`]);
});

test("a client hears nothing of other clients and of environments that it may not list", async () => {
  await using it = await setup();
  const key = await createClient(it.world, reader(WX.appId));
  const [all, own] = [await it.open(it.admin), await it.open(key)];
  await createClient(it.world, { ...reader(WX.appId, "other"), environment: "another" });
  await Harness.until(() => ["client", "environment"].every((each) => all.told.includes(each)));
  await it.fetchFirst();
  await own.until(1);
  expect(own.told).toEqual([`credential ${WX.appId} access_token`]);
});

test.each([
  ["revoked", (it: Setup, key: string) => it.revoke("bot", key)],
  ["gone with its client", (it: Setup) => it.asAdmin("/v1/clients/bot", { method: "DELETE" })],
  ["expired", (it: Setup) => it.world.clock.advance(3_600_000)],
] as const)("a stream ends when its key is %s, while others go on", async (_, end) => {
  await using it = await setup();
  const keyExpiresAt = it.world.clock.now() + 3_600_000;
  const key = await createClient(it.world, { ...reader(WX.appId), keyExpiresAt });
  const [all, own] = [await it.open(it.admin), await it.open(key)];
  await end(it, key);
  await own.ended();
  expect(all.isEnded).toBe(false);
});

test.each([
  ["signed out", ({ page }: SignedIn) => page.send("DELETE", "/console/session")],
  ["idle for half an hour", ({ it }: SignedIn) => it.world.clock.advance(30 * 60_000)],
  ["without its key", ({ it, key }: SignedIn) => it.revoke("bot", key)],
] as const)("a stream of the console ends when its session is %s, while others go on", async (_, end) => {
  await using it = await setup();
  const key = await createClient(it.world, reader(WX.appId));
  const page = new ConsolePage(it.world);
  await page.signIn(key);
  const [all, own] = [await it.open(it.admin), await it.open(cookieOf(page))];
  await it.fetchFirst();
  await own.until(1);
  await end({ it, page, key });
  await own.ended();
  expect(all.isEnded).toBe(false);
});

test("a stream alone does not keep a session of the console", async () => {
  await using it = await setup();
  const page = new ConsolePage(it.world);
  await page.signIn(it.admin);
  const stream = await it.open(cookieOf(page));
  for (let minutes = 0; minutes < 30; minutes += 5) {
    it.world.clock.advance(5 * 60_000);
    await Harness.until(() => stream.isEnded || stream.comments > minutes / 5);
  }
  await stream.ended();
  expect((await page.get("/v1/apps")).status).toBe(401);
});

test("whoever comes back is told what it has missed, once", async () => {
  await using it = await setup();
  const before = await it.open(it.admin);
  await it.fetchFirst(WX.appId);
  await before.until(1);
  before[Symbol.dispose]();
  await it.fetchFirst(WECOM);
  await it.fetchFirst(WECOM, "jsapi_ticket");
  const after = await it.open(it.admin, before.lastId);
  await after.until(2);
  expect(after.told.toSorted()).toEqual([
    `credential ${WECOM} access_token`,
    `credential ${WECOM} jsapi_ticket`,
  ]);
});

test("what is missed is told by the grants of the moment in which one comes back", async () => {
  await using it = await setup();
  const key = await createClient(it.world, {
    name: "bot",
    grants: [{ apps: [WX.appId, WECOM], actions: ["token:read"] }],
  });
  const [all, before] = [await it.open(it.admin), await it.open(key)];
  before[Symbol.dispose]();
  await it.fetchFirst(WX.appId);
  await it.fetchFirst(WECOM);
  await all.until(2);
  await it.change("bot", { grants: [{ apps: [WECOM], actions: ["token:read"] }] });
  await all.until(3);
  const after = await it.open(key, before.lastId);
  await it.clear(WECOM);
  await Harness.until(() => after.events.some(({ data }) => data["state"] === "none"));
  expect(JSON.stringify(after.events)).not.toContain(WX.appId);
});

test.each(["of another service", "1.2.3", "9999.9999.9999.9999.9999.9999", "0.0.0.0.0.0"])(
  "with an id that it knows nothing after, one is told to ask for everything: %s",
  async (lastId) => {
    await using it = await setup();
    await it.fetchFirst();
    const stream = await it.open(it.admin, lastId);
    await stream.until(1);
    expect(stream.told).toEqual(["reset"]);
  },
);

test("a stream ends when the client may call from its address no more", async () => {
  await using it = await setup();
  const stream = await it.open(await createClient(it.world, reader(WX.appId)));
  await it.change("bot", { networks: ["10.0.0.0/8"] });
  await stream.ended();
});

test("a key has 20 streams, and another key and a session their own; one that is closed makes room", async () => {
  await using it = await setup();
  const streams = await Promise.all(Array.from({ length: 20 }, () => it.open(it.admin)));
  const refused = await fetch(`${it.url()}/v1/events`, { headers: { "x-api-key": it.admin } });
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "5"]);
  const other = await createClient(it.world, reader(WX.appId));
  const page = new ConsolePage(it.world);
  await page.signIn(it.admin);
  expect([(await it.open(other)).status, (await it.open(cookieOf(page))).status]).toEqual([200, 200]);
  streams[0]?.[Symbol.dispose]();
  await Harness.until(async () => (await it.open(it.admin)).status === 200);
});

test("streams that nothing is told are kept open, with an id from where to go on", async () => {
  await using it = await setup();
  const key = await createClient(it.world, reader(WECOM));
  const [all, own] = [await it.open(it.admin), await it.open(key)];
  await it.fetchFirst(WX.appId);
  await all.until(1);
  it.world.clock.advance(15_000);
  await Harness.until(() => own.comments > 0);
  expect(own.lastId).toBe(all.lastId);
});

test("a stop ends the streams and does not wait for their readers", async () => {
  await using it = await setup();
  const stream = await it.open(it.admin);
  await it.world.stop();
  await stream.ended();
  const stopped = it.world.events.findIndex(({ type }) => type === "service.stopped");
  expect(stopped).toBeGreaterThan(0);
});

test("without a key outside the trusted networks there is no stream", async () => {
  await using it = await setup();
  const response = await fetch(`${it.url()}/v1/events`, { headers: { "x-api-key": `${it.admin}x` } });
  expect(response.status).toBe(401);
});

type Setup = Awaited<ReturnType<typeof setup>>;

interface SignedIn {
  readonly it: Setup;
  readonly page: ConsolePage;
  readonly key: string;
}

/** What the page's `EventSource` sends. */
function cookieOf({ cookie }: ConsolePage): Record<string, string> {
  return { cookie, "sec-fetch-site": "same-origin" };
}
