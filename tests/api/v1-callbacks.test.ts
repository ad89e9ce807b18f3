import { expect, test } from "bun:test";
import { createClient } from "../support/access-harness.ts";
import { CORP, WECOM, WX } from "../support/harness.ts";
import { ManagingHarness } from "../support/managing-harness.ts";

const PATH = `/v1/apps/${WX.appId}/callbacks`;
const WECOM_PATH = `/v1/apps/${CORP}_${WECOM.agent}/callbacks`;
const TOKEN = "canaryToken";
const AES_KEY = "canary".padEnd(43, "0");

async function setup() {
  const it = await ManagingHarness.create();
  const put = (path: string, body: unknown, ifMatch?: string) =>
    it.ask("PUT", path, body, ifMatch === undefined ? {} : { ifMatch });
  const show = async () => (await it.ask("GET", PATH)).data;
  return { it, put, show, [Symbol.asyncDispose]: () => it[Symbol.asyncDispose]() };
}

test("a Token and key are made where none is given, shown in that answer, and never again", async () => {
  await using t = await setup();
  const made = await t.put(PATH, {});
  expect([made.status, made.data]).toMatchObject([
    201,
    { app: WX.appId, mode: "secure", format: "xml", receive_ids: [WX.appId], rotating: false },
  ]);
  const { token, aes_key: aesKey } = made.data;
  expect(String(token)).toMatch(/^[A-Za-z0-9]{32}$/);
  expect(String(aesKey)).toMatch(/^[A-Za-z0-9]{43}$/);
  const again = await t.put(PATH, {});
  expect([again.status, again.data["token"], again.data["aes_key"]]).toEqual([200, undefined, undefined]);
  expect((await t.it.ask("GET", PATH)).text).not.toContain(String(token));
  expect((await t.it.ask("GET", "/v1/callbacks")).data["callbacks"]).toMatchObject([{ app: WX.appId }]);
});

test("P6: P7: given secrets are in no answer and in no audit entry, each change has an entry, and the same again none", async () => {
  await using t = await setup();
  const first = await t.put(PATH, { token: TOKEN, aes_key: AES_KEY, mode: "compat" });
  expect([first.status, first.data["token"]]).toEqual([201, undefined]);
  const count = t.it.auditCount();
  await t.put(PATH, { token: TOKEN, aes_key: AES_KEY, mode: "compat", format: "xml" });
  expect(t.it.auditCount()).toBe(count);
  await t.put(PATH, { token: `${TOKEN}2`, format: "json" });
  await t.put(`${PATH}/targets/crm`, {
    environment: "prod",
    url: "https://user-secret.example/hook?key=canary",
    content: "decrypted",
    hmac_key: "canary-0123456789",
  });
  await t.put(`${PATH}/routes`, { routes: [{ target: "crm", role: "primary", openids: ["o1"] }] });
  const entries = await t.it.audited(4);
  expect(entries.map(({ action, detail }) => [action, detail])).toEqual([
    ["callback_routes.updated", { routes: [{ target: "crm", role: "primary", rule: { openids: 1 } }] }],
    [
      "callback_target.updated",
      {
        target: "crm",
        environment: "prod",
        url: "https://user-secret.example",
        content: "decrypted",
        keys: "changed",
        new_environment: { production: true, codes: "raw" },
      },
    ],
    ["callback.updated", { format: "json", token: "changed" }],
    ["callback.updated", { mode: "compat", token: "changed", aes_key: "changed" }],
  ]);
  const shown = `${(await t.it.ask("GET", PATH)).text}${JSON.stringify(entries)}`;
  expect(shown.match(/canary[A-Za-z0-9]{5}|canary-0123456789/g)).toBeNull();
});

test("a rotation accepts the former Token and key until it is finished, and another has to wait for that", async () => {
  await using t = await setup();
  await t.put(PATH, { token: TOKEN, aes_key: AES_KEY });
  const rotated = await t.it.ask("POST", `${PATH}/rotate`, {});
  expect([rotated.status, rotated.data]).toMatchObject([
    200,
    { rotating: true, token: expect.stringMatching(/^\w{32}$/), aes_key: expect.stringMatching(/^\w{43}$/) },
  ]);
  const waiting = await t.it.ask("POST", `${PATH}/rotate`, { only: "token" });
  expect([waiting.status, waiting.msg]).toEqual([409, expect.stringContaining("callbacks finish")]);
  expect((await t.it.ask("POST", `${PATH}/finish`)).data).toMatchObject({ rotating: false });
  const count = t.it.auditCount();
  expect((await t.it.ask("POST", `${PATH}/finish`)).status).toBe(200);
  expect(t.it.auditCount()).toBe(count);
  const given = await t.it.ask("POST", `${PATH}/rotate`, { token: "another", only: "token" });
  expect([given.data["rotating"], given.data["token"], given.data["aes_key"]]).toEqual([
    true,
    undefined,
    undefined,
  ]);
  expect(await t.it.audited(3)).toMatchObject([
    { action: "callback.key_rotated", detail: { changed: ["token"], previous: "accepted" } },
    { action: "callback.key_rotated", detail: { previous: "dropped" } },
    { action: "callback.key_rotated", detail: { changed: ["token", "aes_key"] } },
  ]);
});

test("a target is pulled without a URL, keeps what is not changed, and has its keys made by what it is sent", async () => {
  await using t = await setup();
  await t.put(PATH, {});
  const path = `${PATH}/targets/dev`;
  const added = await t.put(path, { environment: "dev" });
  expect([added.status, added.data]).toMatchObject([
    201,
    { target: "dev", environment: "dev", content: "reencrypted", token: expect.stringMatching(/^\w{32}$/) },
  ]);
  expect(added.data["url"]).toBeUndefined();
  const url = "https://dev.example.com/wx/$APPID$?a=1";
  const moved = await t.put(path, { url, timeout: 2.5 });
  expect(moved.data).toMatchObject({ environment: "dev", url, timeout: 2.5 });
  expect([moved.data["token"], moved.data["aes_key"]]).toEqual([undefined, undefined]);
  const decrypted = await t.put(path, { content: "decrypted" });
  expect(String(decrypted.data["hmac_key"])).toMatch(/^[0-9a-f]{64}$/);
  const renewed = await t.put(path, { new_keys: true });
  expect(String(renewed.data["hmac_key"])).toMatch(/^[0-9a-f]{64}$/);
  expect(renewed.data["hmac_key"]).not.toBe(decrypted.data["hmac_key"]);
  const pulled = await t.put(path, { url: null, timeout: null, content: "original" });
  expect(pulled.data).toEqual({
    target: "dev",
    environment: "dev",
    content: "original",
    version: expect.any(Number),
  });
  expect((await t.it.ask("GET", path)).data).toEqual(pulled.data);
});

test("routes keep their order and name targets, and go with a target that is removed", async () => {
  await using t = await setup();
  await t.put(PATH, {});
  for (const name of ["dev", "prod"]) await t.put(`${PATH}/targets/${name}`, { environment: name });
  const routes = [
    { target: "dev", role: "primary", openids: ["oMe"] },
    { target: "dev", role: "copy", types: ["event"], events: ["CLICK"], event_keys: ["menu_*"] },
    { target: "prod", role: "primary" },
  ];
  const set = await t.put(`${PATH}/routes`, {
    routes: routes.map((each) => ({ ...each, openids: each.openids ?? [] })),
  });
  expect([set.status, set.data["routes"]]).toEqual([200, routes]);
  const unknown = await t.put(`${PATH}/routes`, { routes: [{ target: "st", role: "copy" }] });
  expect([unknown.status, unknown.msg]).toEqual([404, expect.stringContaining("st")]);
  await t.it.ask("DELETE", `${PATH}/targets/dev`);
  expect((await t.show())["routes"]).toEqual([{ target: "prod", role: "primary" }]);
});

test("a change with If-Match is made of that version alone, and targets and settings have versions of their own", async () => {
  await using t = await setup();
  const first = await t.put(PATH, {});
  const etag = first.headers.get("etag") ?? "";
  const target = await t.put(`${PATH}/targets/dev`, { environment: "dev" });
  const ofTarget = target.headers.get("etag") ?? "";
  expect((await t.put(PATH, { format: "json" }, etag)).status).toBe(200);
  const late = [
    await t.put(PATH, { format: "xml" }, etag),
    await t.put(`${PATH}/routes`, { routes: [] }, '"1"'),
    await t.it.ask("POST", `${PATH}/rotate`, {}, { ifMatch: etag }),
    await t.it.ask("DELETE", PATH, undefined, { ifMatch: etag }),
    await t.put(`${PATH}/targets/dev`, { environment: "st" }, etag),
    await t.put(`${PATH}/targets/st`, { environment: "st" }, ofTarget),
  ];
  expect(late.map(({ status }) => status)).toEqual([412, 412, 412, 412, 412, 412]);
  expect((await t.put(`${PATH}/targets/dev`, { environment: "st" }, ofTarget)).status).toBe(200);
});

test("what WeChat's console could not have is refused with what is wrong, and changes nothing", async () => {
  await using t = await setup();
  await t.put(PATH, {});
  await t.put(WECOM_PATH, {});
  const target = `${PATH}/targets/dev`;
  const refused: [string, unknown, string][] = [
    [PATH, { token: "ab" }, "token"],
    [PATH, { aes_key: "short" }, "aes_key"],
    [PATH, { receive_ids: [] }, "receive_ids"],
    [PATH, { receive_ids: ["a,b"] }, "receive_ids"],
    [PATH, { modus: "secure" }, "mode"],
    [WECOM_PATH, { mode: "plain" }, "secure"],
    [WECOM_PATH, { format: "json" }, "XML"],
    [target, {}, "environment"],
    [target, { environment: "dev", hmac_key: "short", content: "decrypted" }, "hmac_key"],
    [target, { environment: "dev", timeout: 21 }, "timeout"],
    [`${PATH}/targets/-x`, { environment: "dev" }, "target"],
    [`${PATH}/routes`, { routes: [{ target: "dev", role: "third" }] }, "routes"],
    ...[
      "dev.example.com",
      "ftp://dev.example.com/",
      "https://user:pass@dev.example.com/",
      "https://dev.example.com/#x",
      "https://dev.example.com\\@evil.example/",
      "https://dev.example.com/a b",
      "https://dev.example.com/微信",
      "https:///x",
      "https://",
    ].map((url): [string, unknown, string] => [target, { environment: "dev", url }, "url"]),
  ];
  const count = t.it.auditCount();
  for (const [path, body, word] of refused) {
    const { status, msg } = await t.put(path, body);
    expect([body, status, msg]).toEqual([body, 400, expect.stringContaining(word)]);
  }
  expect(t.it.auditCount()).toBe(count);
});

test("WeCom's pushes are meant for the corp, and the empty receiver only where it is asked for", async () => {
  await using t = await setup();
  expect((await t.put(WECOM_PATH, {})).data["receive_ids"]).toEqual([CORP]);
  expect((await t.put(PATH, { receive_ids: ["", "wx2"] })).data["receive_ids"]).toEqual(["", "wx2"]);
});

test("the URL for WeChat's console is that of PUBLIC_URL, and plain mode is warned about", async () => {
  await using t = await setup();
  expect((await t.put(PATH, { mode: "plain" })).text).toContain("forge");
  expect((await t.show())["callback_url"]).toBeUndefined();
  await t.it.world.stop();
  await t.it.world.start({ PUBLIC_URL: "https://wx.example.com" });
  expect((await t.show())["callback_url"]).toBe(`https://wx.example.com/callback/${WX.appId}`);
});

test("without settings there is nothing to change, and with them goes everything", async () => {
  await using t = await setup();
  const answers = async () =>
    Promise.all([
      t.it.ask("GET", PATH),
      t.it.ask("DELETE", PATH),
      t.it.ask("POST", `${PATH}/rotate`, {}),
      t.it.ask("POST", `${PATH}/finish`),
      t.put(`${PATH}/targets/dev`, { environment: "dev" }),
      t.it.ask("GET", `${PATH}/targets/dev`),
      t.put(`${PATH}/routes`, { routes: [] }),
    ]);
  for (const { status, msg } of await answers())
    expect([status, msg]).toEqual([404, expect.stringContaining("callbacks set")]);
  await t.put(PATH, {});
  await t.put(`${PATH}/targets/dev`, { environment: "dev" });
  await t.it.ask("DELETE", PATH);
  for (const { status } of await answers()) expect(status).toBe(404);
  expect((await t.it.ask("PUT", "/v1/apps/wx0none/callbacks", {})).status).toBe(404);
});

test("P4: an app whose Token does not open verifies nothing, says so, and is mended by new ones", async () => {
  await using t = await setup();
  await t.put(PATH, {});
  await t.put(`${PATH}/targets/dev`, { environment: "dev" });
  await t.it.world.stop();
  t.it.database.run("UPDATE callbacks SET token = 'x'");
  await t.it.world.start();
  expect(await t.show()).toMatchObject({ damaged: true });
  expect((await t.it.ask("GET", "/v1/callbacks")).data["callbacks"]).toMatchObject([{ damaged: true }]);
  expect((await t.it.ask("POST", `${PATH}/rotate`, {})).status).toBe(409);
  expect(t.it.world.events.filter(({ type }) => type === "store.damaged")).toMatchObject([
    { key: `callbacks:${WX.appId}` },
  ]);
  const mended = await t.put(PATH, { token: TOKEN, aes_key: AES_KEY });
  expect(mended.data).toMatchObject({ mode: "secure", targets: [{ target: "dev" }] });
});

test("callback:manage of one app shows and changes that app alone", async () => {
  await using t = await setup();
  await t.put(PATH, {});
  await t.put(WECOM_PATH, {});
  const grants = [{ apps: [WX.appId], actions: ["callback:manage"] as const }];
  const key = await createClient(t.it.world, { name: "ops", grants });
  const listed = await t.it.ask("GET", "/v1/callbacks", undefined, { key });
  expect((listed.data["callbacks"] as { app: string }[]).map(({ app }) => app)).toEqual([WX.appId]);
  expect((await t.it.ask("PUT", PATH, { format: "json" }, { key })).status).toBe(200);
  expect((await t.it.ask("PUT", WECOM_PATH, {}, { key })).status).toBe(403);
  expect((await t.it.ask("GET", "/v1/callbacks", undefined, { key: "" })).data).toEqual({ callbacks: [] });
});
