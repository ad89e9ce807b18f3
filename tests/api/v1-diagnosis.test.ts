import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { signJsApi } from "../../src/signing/page-signer.ts";
import { createClient } from "../support/access-harness.ts";
import { type Answer, CORP, Harness, WX, WX_FOREIGN } from "../support/harness.ts";

const APP = `/v1/apps/${WX.appId}`;
const AGENT = `/v1/apps/${CORP}_1000002`;
const NONCE = "Wm3WZYTPz0wzccnW";
const PAGE = "https://shop.example.com/cart?a=1&b=2";

type Ask = (path: string, body?: unknown) => Promise<Answer>;

/** A page's developer: signs addresses with the app's ticket by hand, and pastes what the page has. */
async function setup(path = APP) {
  const world = await Harness.create();
  const ask: Ask = (path, body) => (body === undefined ? world.get(path) : world.post(path, body));
  const ticketOf = async (kind = "jsapi_ticket", of = path) =>
    String((await ask(`${of}/credentials/${kind}`)).data["value"]);
  const seconds = Math.floor(world.clock.now() / 1000);
  const sign = (url: string, ticket: string, timestamp: number | string = seconds) =>
    sha1(`jsapi_ticket=${ticket}&noncestr=${NONCE}&timestamp=${timestamp}&url=${url}`);
  const config = (signature: string, more: object = {}) =>
    `wx.config({ debug: true, appId: '${WX.appId}', timestamp: ${seconds}, nonceStr: '${NONCE}', signature: '${signature}', jsApiList: ['chooseImage'] }) ${JSON.stringify(more)}`;
  const diagnose = (body: unknown, of = path) => ask(`${of}/signatures/diagnose`, body);
  return {
    world,
    ticketOf,
    sign,
    config,
    diagnose,
    seconds,
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

function sha1(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}

function causesOf({ data }: Answer, certainty?: string): string[] {
  const causes = data["causes"] as { cause: string; certainty: string }[];
  return causes.filter((each) => (certainty ?? each.certainty) === each.certainty).map(({ cause }) => cause);
}

test.each<[mistake: string, cause: string, signed: string, pasted?: string]>([
  ["the # and what follows", "hash_included", `${PAGE}#/pay`, `location.href: ${PAGE}#/pay`],
  ["&amp; for &", "html_escaped", PAGE.replace("&", "&amp;")],
  ["an address that was encoded as a whole", "encoding", encodeURIComponent(PAGE)],
  ["http for https behind a proxy", "scheme", PAGE.replace("https", "http")],
  ["another slash", "url_form", PAGE.replace("cart", "cart/")],
  ["a host in capitals", "url_form", PAGE.replace("shop", "Shop"), `${PAGE.replace("shop", "Shop")} ${PAGE}`],
  ["the default port", "url_form", PAGE.replace(".com", ".com:443")],
])("a page that signed %s is told of %s, and by which address", async (...row) => {
  const [, cause, signed, pasted = PAGE] = row;
  await using it = await setup();
  const signature = it.sign(signed, await it.ticketOf());
  const answer = await it.diagnose({ text: `${it.config(signature)}\n${pasted}` });
  expect([answer.status, causesOf(answer)]).toEqual([200, [cause]]);
  expect(answer.data["match"]).toMatchObject({ url: signed, app: WX.appId, ticket: "jsapi_ticket" });
  expect(answer.data["causes"][0]).toMatchObject({ certainty: "found", found: signed, expected: PAGE });
});

test.each([
  ["一二", "https://shop.example.com/%E4%B8%80?q=%E4%BA%8C", "https://shop.example.com/一?q=二"],
  ["twice", "https://shop.example.com/?q=%E4%B8%80", "https://shop.example.com/?q=%25E4%25B8%2580"],
])("a page whose address was decoded, or encoded twice, is told of encoding: %s", async (_, page, signed) => {
  await using it = await setup();
  const signature = it.sign(signed, await it.ticketOf());
  const answer = await it.diagnose({ text: it.config(signature), href: page });
  expect(causesOf(answer)).toEqual(["encoding"]);
});

test("parameters that sharing or the authorization adds are told, whichever side has them", async () => {
  await using it = await setup();
  const ticket = await it.ticketOf();
  const shared = `${PAGE}&from=singlemessage&isappinstalled=0`;
  const fixed = await it.diagnose({ text: `${it.config(it.sign(PAGE, ticket))} location.href: ${shared}` });
  expect(causesOf(fixed)).toEqual(["added_parameters"]);
  expect(fixed.data["url"]).toBe(shared);
  const authorized = `${PAGE}&code=061aBc&state=x`;
  const cached = await it.diagnose({
    text: it.config(it.sign(authorized, ticket)),
    url: authorized,
    href: PAGE,
  });
  expect(causesOf(cached)).toEqual(["added_parameters"]);
});

test("a single-page app on iOS that signs the current route is told the address to sign; without it, asked for it", async () => {
  await using it = await setup();
  const landing = "https://shop.example.com/";
  const text = `${it.config(it.sign(PAGE, await it.ticketOf()))} invalid signature iPhone`;
  const told = await it.diagnose({ text, href: PAGE, landing_url: landing });
  expect(causesOf(told, "found")).toEqual(["ios_landing_url"]);
  expect([told.data["url"], told.data["read"].platform]).toEqual([landing, "ios"]);
  const asked = await it.diagnose({ text, href: PAGE });
  expect(causesOf(asked)).toEqual(["correct", "ios_landing_url"]);
  const android = await it.diagnose({
    text: text.replace("iPhone", "Android"),
    href: PAGE,
    landing_url: landing,
  });
  expect(causesOf(android)).toEqual(["correct"]);
});

test("a timestamp in milliseconds, a misspelt nonceStr and a string in quotes are told", async () => {
  await using it = await setup();
  const ticket = await it.ticketOf();
  const ms = `${it.seconds}000`;
  const answer = await it.diagnose({
    text: `wx.config({ appId: '${WX.appId}', timestamp: '${ms}', noncestr: '${NONCE}', signature: '${it.sign(PAGE, ticket, ms)}' }); ${PAGE}`,
  });
  expect(causesOf(answer)).toEqual(["timestamp_form", "nonce_name", "timestamp_type"]);
  expect(answer.data["timestamp"]).toBe(it.seconds);
  // Signed in milliseconds, and passed in seconds.
  const mixed = await it.diagnose({ text: `${it.config(it.sign(PAGE, ticket, ms))} ${PAGE}` });
  expect(causesOf(mixed)).toEqual(["timestamp_form"]);
  const old = await it.diagnose({ url: PAGE, timestamp: it.seconds - 7201 });
  expect(causesOf(old)).toContain("stale_timestamp");
});

test("a page with another app's appId, or signed with another app's ticket, is told whose", async () => {
  await using it = await setup();
  const { world } = it;
  const body = { platform: "weixin", app_id: WX_FOREIGN.appId, secret: WX_FOREIGN.secret };
  const sent = {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  };
  expect((await world.administer("/v1/apps", sent)).status).toBe(201);
  const named = await it.diagnose({ text: it.config("").replace(WX.appId, WX_FOREIGN.appId), url: PAGE });
  expect(named.data["causes"][0]).toMatchObject({ cause: "other_app", found: WX_FOREIGN.appId });
  const other = await it.ticketOf("jsapi_ticket", `/v1/apps/${WX_FOREIGN.appId}`);
  const answer = await it.diagnose({ text: it.config(it.sign(PAGE, other)), url: PAGE });
  expect(causesOf(answer)).toEqual(["other_app"]);
  expect(answer.data["match"]).toMatchObject({ app: WX_FOREIGN.appId, url: PAGE });
  expect(answer.data["tried"].other_apps).toBe(3);
});

test("no app is tried that the caller may not sign for", async () => {
  await using world = await Harness.create();
  const grants = [{ apps: [WX.appId], actions: ["ticket:sign"] as const }];
  const key = await createClient(world, { name: "pages", grants });
  const ticket = String((await world.administer(`${AGENT}/credentials/agent_config_ticket`)).data["value"]);
  const timestamp = Math.floor(world.clock.now() / 1000);
  const signature = signJsApi({ ticket, nonce: NONCE, timestamp, url: PAGE });
  const body = { url: PAGE, timestamp, nonce_str: NONCE, signature };
  const headers = { "x-api-key": key };
  const refused = await world.post(`${AGENT}/signatures/diagnose`, body, { headers });
  expect(refused.status).toBe(403);
  const answer = await world.post(`${APP}/signatures/diagnose`, body, { headers });
  expect([causesOf(answer), answer.data["tried"].other_apps]).toEqual([["no_match"], 0]);
});

test("a signature of a ticket that was replaced since is told, also after a clear", async () => {
  await using it = await setup();
  const old = await it.ticketOf();
  it.world.clock.advance(7_201_000);
  const now = await it.ticketOf();
  expect(now).not.toBe(old);
  const answer = await it.diagnose({ text: it.config(it.sign(PAGE, old)), url: PAGE });
  expect(causesOf(answer)).toEqual(["old_ticket", "stale_timestamp"]);
  expect(answer.data["match"]).toMatchObject({ url: PAGE, ticket: "jsapi_ticket", previous: true });
  await it.world.request(`${APP}/credentials/jsapi_ticket`, { method: "DELETE" });
  it.world.clock.advance(7_201_000);
  const cleared = await it.diagnose({ text: it.config(it.sign(PAGE, now)), url: PAGE });
  expect(causesOf(cleared, "found")).toEqual(["old_ticket"]);
});

test("WeCom: a signature made with the ticket of the other call, or with a token, is told", async () => {
  await using it = await setup(AGENT);
  for (const [kind, call, cause] of [
    ["agent_config_ticket", "wx.config", "wrong_ticket"],
    ["jsapi_ticket", "wx.agentConfig", "wrong_ticket"],
    ["access_token", "wx.config", "wrong_ticket"],
    ["jsapi_ticket", "wx.config", "correct"],
    ["agent_config_ticket", "wx.agentConfig", "correct"],
  ] as const) {
    const text = it.config(it.sign(PAGE, await it.ticketOf(kind))).replace("wx.config", call);
    const answer = await it.diagnose({ text: text.replace(WX.appId, CORP), url: PAGE });
    expect([kind, call, causesOf(answer)]).toEqual([kind, call, [cause]]);
    expect(answer.data["match"]).toMatchObject({ ticket: kind });
  }
});

test("`invalid url domain`: the host is compared with the app's JS domains, and IPs and ports are refused", async () => {
  await using it = await setup();
  const shop = `/v1/apps/${WX_FOREIGN.appId}`;
  const send = (method: string, path: string, body: object) =>
    it.world.administer(path, {
      method,
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  await send("POST", "/v1/apps", {
    platform: "weixin",
    app_id: WX_FOREIGN.appId,
    secret: WX_FOREIGN.secret,
  });
  await send("PATCH", shop, { js_domains: ["shop.example.com"] });
  const found = async (url: string, path = shop) =>
    causesOf(await it.diagnose({ url, error: "config:invalid url domain" }, path), "found");
  expect(await found("https://www.example.com/")).toEqual(["url_domain"]);
  expect(await found("https://m.shop.example.com/")).toEqual([]);
  expect(await found("http://203.0.113.7/", APP)).toEqual(["url_domain"]);
  expect(await found("http://shop.example.com:8080/", APP)).toEqual(["url_domain"]);
  expect(await found("http://shop.example.com:8080/", AGENT)).toEqual([]);
  const unknown = await it.diagnose({ text: `invalid url domain ${PAGE}` });
  expect(causesOf(unknown, "possible")).toEqual(["url_domain"]);
});

test("agentConfig outside of WeCom, and a call without permission, are told without an address", async () => {
  await using it = await setup(AGENT);
  const wechat = "agentConfig:fail Mozilla/5.0 (Linux; Android 14) MicroMessenger/8.0.50";
  const answer = await it.diagnose({ text: wechat });
  expect(answer.data["causes"][0]).toMatchObject({ cause: "agent_config_client", found: "wechat" });
  expect(answer.data["url"]).toBeUndefined();
  const devtools = await it.diagnose({ text: wechat.replace("MicroMessenger", "wechatdevtools") });
  expect(devtools.data["causes"][0]).toMatchObject({ cause: "agent_config_client", found: "devtools" });
  const member = await it.diagnose({ text: wechat.replace("MicroMessenger", "wxwork/4.1 MicroMessenger") });
  expect(causesOf(member, "possible")).toContain("agent_config_client");
  const denied = await it.diagnose({ error: "chooseImage:permission denied" });
  expect(causesOf(denied)).toEqual(["permission_denied"]);
});

test("the string that a back end hashed tells its address, its ticket and its form, and its ticket is not repeated", async () => {
  await using it = await setup();
  const ticket = await it.ticketOf();
  const text = (value: string) =>
    `jsapi_ticket=${value}&noncestr=${NONCE}&timestamp=${it.seconds}&url=${PAGE}`;
  const right = await it.diagnose({ text: text(ticket) });
  expect(right.data["read"]).toMatchObject({ url: PAGE, nonce_str: NONCE, timestamp: String(it.seconds) });
  expect(causesOf(right, "found")).toEqual([]);
  const foreign = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3";
  const other = await it.diagnose({ text: text(foreign) });
  expect(causesOf(other, "found")).toEqual(["unknown_ticket"]);
  expect(other.text).not.toContain(foreign.slice(0, 7));
  const misspelt = sha1(text(ticket).replace("noncestr", "nonceStr"));
  const form = await it.diagnose({ text: it.config(misspelt), url: PAGE });
  expect(causesOf(form)).toEqual(["string_form"]);
  const newline = await it.diagnose({ text: it.config(sha1(`${text(ticket)}\n`)), url: PAGE });
  expect(causesOf(newline)).toEqual(["string_form"]);
});

test("what is right for the page is in the answer: signature, string and a call to copy", async () => {
  await using it = await setup();
  const ticket = await it.ticketOf();
  const answer = await it.diagnose({ text: it.config(it.sign(`${PAGE}#x`, ticket)), href: `${PAGE}#x` });
  const { url, signature, string, config } = answer.data;
  expect([url, signature]).toEqual([PAGE, it.sign(PAGE, ticket)]);
  expect(string).toBe(
    `jsapi_ticket=${ticket.slice(0, 6)}…&noncestr=${NONCE}&timestamp=${it.seconds}&url=${PAGE}`,
  );
  expect(config).toContain(`signature: "${signature}"`);
  expect(config).toContain(`timestamp: ${it.seconds},`);
  // Without timestamp and nonceStr it has some of its own.
  const fresh = (await it.diagnose({ url: PAGE })).data;
  const { timestamp, nonce_str: nonce } = fresh as { timestamp: number; nonce_str: string };
  expect(fresh["signature"]).toBe(signJsApi({ ticket, nonce, timestamp, url: PAGE }));
});

test("P6: of no ticket or token are more than six characters in any answer", async () => {
  await using it = await setup(AGENT);
  const kinds = ["jsapi_ticket", "agent_config_ticket", "access_token"];
  for (const kind of kinds) {
    const value = await it.ticketOf(kind);
    const answer = await it.diagnose({ text: it.config(it.sign(PAGE, value)), url: PAGE });
    for (const each of await Promise.all(kinds.map((name) => it.ticketOf(name))))
      expect(answer.text).not.toContain(each.slice(0, 7));
  }
});

test("a client may ask ten times in a minute, each for itself; what can't be read is 400, and counts", async () => {
  await using world = await Harness.create();
  const grants = [{ apps: ["*"], actions: ["ticket:sign"] as const }];
  const one = await createClient(world, { name: "one", grants });
  const two = await createClient(world, { name: "two", grants });
  const ask = async (key: string, body: object = { url: PAGE }) =>
    (await world.post(`${APP}/signatures/diagnose`, body, { headers: { "x-api-key": key } })).status;
  expect(await ask(one, {})).toBe(400);
  expect(await ask(one, { text: "hello" })).toBe(400);
  for (let n = 0; n < 8; n++) expect(await ask(one)).toBe(200);
  expect(await ask(one, { text: "hello" })).toBe(429);
  expect(await ask(one)).toBe(429);
  expect(await ask(two)).toBe(200);
  world.clock.advance(6000);
  expect([await ask(one), await ask(one)]).toEqual([200, 429]);
});
