import { expect, test } from "bun:test";
import { rawGet } from "../support/raw-http.ts";
import { createClient } from "../support/access-harness.ts";
import { CORP, Harness, WX } from "../support/harness.ts";

const TOKEN = `/v1/apps/${WX.appId}/credentials/access_token`;
const OTHER = `/v1/apps/${CORP}_1000002/credentials/access_token`;

/** A world with a client that has a token, and waits for another. */
async function setup(wanted: Partial<Parameters<typeof createClient>[1]> = {}) {
  const world = await Harness.create();
  const actions = ["token:read", "token:refresh", "token:clear", "ticket:read"] as const;
  const grants = [{ apps: [WX.appId, `${CORP}_1000002`], actions }];
  const key = await createClient(world, { name: "bot", grants, ...wanted });
  const send = (
    path: string,
    {
      headers = {},
      ...init
    }: Omit<RequestInit, "headers"> & { readonly headers?: Record<string, string> } = {},
  ) =>
    fetch(world.service.url + path, {
      ...init,
      headers: { "x-api-key": key, "content-type": "application/json", ...headers },
    });
  const read = async (response: Response) => ({
    status: response.status,
    etag: response.headers.get("etag") ?? "",
    text: await response.text(),
  });
  const get = async (path = TOKEN) => read(await send(path));
  const state = { waiting: 0 };
  return {
    world,
    key,
    send,
    get,
    /** Asks for another credential than that of `etag`. */
    wait: async (etag: string, seconds = 50, path = TOKEN, signal?: AbortSignal) => {
      state.waiting++;
      try {
        const init = { headers: { "if-none-match": etag }, ...(signal ? { signal } : {}) };
        return await read(await send(`${path}?wait=${seconds}`, init));
      } finally {
        state.waiting--;
      }
    },
    /** Whether all of those still wait that did, half a second of real time later. */
    stillWait: async (count: number) => {
      await Bun.sleep(500);
      return state.waiting === count;
    },
    /** Has WeChat issue a new token. */
    replace: async (path = TOKEN) => {
      world.clock.advance(31_000);
      const force = path === TOKEN;
      return read(await send(`${path}/refresh`, { method: "POST", body: JSON.stringify({ force }) }));
    },
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

/** What an answer holds. */
function valueIn(answer: { readonly text: string }): string {
  return (JSON.parse(answer.text) as { data: { value: string } }).data.value;
}

test("the same credential has the same ETag, and 304 without a body for whoever sends it back", async () => {
  await using it = await setup();
  const first = await it.get();
  expect(first.etag).toMatch(/^"[\d-]+"$/);
  it.world.clock.advance(60_000);
  expect((await it.get()).etag).toBe(first.etag);
  for (const known of [first.etag, `W/${first.etag}`, `"x", ${first.etag}`, "*"]) {
    const response = await it.send(TOKEN, { headers: { "if-none-match": known } });
    expect([response.status, response.headers.get("etag"), await response.text()]).toEqual([
      304,
      first.etag,
      "",
    ]);
  }
});

test("whoever waits for another credential gets it as soon as there is one", async () => {
  await using it = await setup();
  const before = await it.get();
  const waiting = it.wait(before.etag);
  expect(await it.stillWait(1)).toBe(true);
  await it.replace();
  const after = await waiting;
  expect(after.status).toBe(200);
  expect(after.etag).not.toBe(before.etag);
  expect(valueIn(after)).not.toBe(valueIn(before));
  expect(await it.get()).toMatchObject({ etag: after.etag });
});

test("a change of another credential ends no wait", async () => {
  await using it = await setup();
  const [token, other] = [await it.get(), await it.get(OTHER)];
  const waiting = it.wait(token.etag);
  const waitingForOther = it.wait(other.etag, 50, OTHER);
  it.world.clock.advance(7_200_000 - 50_000);
  await it.send(OTHER.replace("access_token", "jsapi_ticket"));
  await it.replace();
  expect((await waiting).status).toBe(200);
  expect(await it.stillWait(1)).toBe(true);
  it.world.clock.advance(60_000);
  expect((await waitingForOther).status).toBe(200);
});

test.each(['"1"', '"9999999999999-9999999999999"', "nonsense"])(
  "an ETag that is not the current one's, older or newer, is answered at once: %s",
  async (etag) => {
    await using it = await setup();
    const { text } = await it.get();
    expect(valueIn(await it.wait(etag))).toBe(valueIn({ text }));
  },
);

test("without an ETag the wait has no effect", async () => {
  await using it = await setup();
  expect((await it.get(`${TOKEN}?wait=50`)).status).toBe(200);
});

test("when the time is over without a change, the answer is 304", async () => {
  await using it = await setup();
  const { etag } = await it.get();
  const waiting = it.wait(etag, 30);
  expect(await it.stillWait(1)).toBe(true);
  it.world.clock.advance(29_000);
  expect(await it.stillWait(1)).toBe(true);
  // A sixteenth of the time may come on top.
  it.world.clock.advance(3_000);
  expect(await waiting).toEqual({ status: 304, etag, text: "" });
});

test("a credential that expires while somebody waits is replaced, and not waited for", async () => {
  await using it = await setup();
  const before = await it.get(OTHER);
  it.world.clock.advance(7_200_000 - 20_000);
  const waiting = it.wait(before.etag, 50, OTHER);
  expect(await it.stillWait(1)).toBe(true);
  it.world.clock.advance(20_000);
  const after = await waiting;
  expect(after.status).toBe(200);
  expect(valueIn(after)).not.toBe(valueIn(before));
});

test("P2: a cleared credential is fetched again for those who wait", async () => {
  await using it = await setup();
  const { etag } = await it.get();
  const waiting = it.wait(etag);
  expect(await it.stillWait(1)).toBe(true);
  it.world.clock.advance(1000);
  await it.send(TOKEN, { method: "DELETE" });
  const after = await waiting;
  expect([after.status, after.etag === etag]).toEqual([200, false]);
});

test("P1: a hundred who wait for one credential cost one upstream call when it changes", async () => {
  await using it = await setup();
  const { etag } = await it.get();
  const waiting = Array.from({ length: 100 }, () => it.wait(etag));
  expect(await it.stillWait(100)).toBe(true);
  const calls = it.world.sandbox.calls();
  await it.replace();
  const values = new Set((await Promise.all(waiting)).map(valueIn));
  expect(values.size).toBe(1);
  expect(it.world.sandbox.calls() - calls).toBe(1);
});

test("a client with virtual tokens waits for the real one, and gets another virtual one then", async () => {
  await using it = await setup({ delivery: "virtual" });
  const before = await it.get();
  expect((await it.get()).etag).toBe(before.etag);
  const waiting = it.wait(before.etag);
  expect(await it.stillWait(1)).toBe(true);
  await it.replace();
  const after = await waiting;
  expect(valueIn(after)).toStartWith("atv1_");
  expect(after.etag).not.toBe(before.etag);
});

test("a wait ends when its key is revoked", async () => {
  await using it = await setup();
  const { etag } = await it.get();
  const waiting = it.wait(etag);
  expect(await it.stillWait(1)).toBe(true);
  await it.world.administer(`/v1/clients/bot/keys/${it.key.slice(0, 12)}`, { method: "DELETE" });
  expect((await waiting).status).toBe(401);
});

test("what a client may no longer read, it is not given at the end of a wait either", async () => {
  await using it = await setup();
  const { etag } = await it.get();
  const waiting = it.wait(etag);
  expect(await it.stillWait(1)).toBe(true);
  await it.world.administer("/v1/clients/bot", {
    method: "PATCH",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ grants: [{ apps: [WX.appId], actions: ["token:clear", "token:refresh"] }] }),
  });
  await it.replace();
  const { status, text } = await waiting;
  expect([status, text.includes("value")]).toEqual([403, false]);
});

test("a stop ends waits at once", async () => {
  await using it = await setup();
  const { etag } = await it.get();
  const waiting = it.wait(etag);
  expect(await it.stillWait(1)).toBe(true);
  await it.world.stop();
  expect((await waiting).status).toBe(304);
});

test("a wait is 0 to 50 s", async () => {
  await using it = await setup();
  const { etag } = await it.get();
  for (const wait of ["51", "-1", "1.5", "x", "007"])
    expect((await it.get(`${TOKEN}?wait=${wait}`)).status).toBe(400);
  expect(await it.wait(etag, 0)).toMatchObject({ status: 304 });
  const headers = ["Host: localhost", `X-API-Key: ${it.key}`, `If-None-Match: ${etag}`];
  const { status, body } = await rawGet(it.world.service.url, TOKEN, headers);
  expect([status, body]).toEqual([304, ""]);
});
