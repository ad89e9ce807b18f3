import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CORP, WECOM, WX } from "../support/harness.ts";
import { type EnvironmentName, HOME, LoginHarness, type Sent, WECOM_APP } from "./login-harness.ts";

const STATE = /^[A-Za-z0-9]{1,32}$/;

test("a browser is sent to WeChat with our return URL, and back with the code and its own state", async () => {
  await using at = await LoginHarness.create();
  const redirect = "https://dev.example.com/cb?x=1&y=%E4%BD%A0#/login";
  const query = `appid=${WX.appId}&redirect_uri=${encodeURIComponent(redirect)}&response_type=code&scope=snsapi_userinfo&state=%E4%BD%A0%E5%A5%BD%2F%3D+x`;
  const sent = await at.open(`/connect/oauth2/authorize?${query}`);
  expect(sent.status).toBe(302);
  expect(sent.headers.get("cache-control")).toBe("no-store");
  expect(sent.headers.get("referrer-policy")).toBe("no-referrer");
  expect(sent.headers.get("set-cookie")).toBeNull();
  const { location } = sent;
  expect(location.origin + location.pathname + location.hash).toBe(
    "https://open.weixin.qq.com/connect/oauth2/authorize#wechat_redirect",
  );
  const { state, ...parameters } = Object.fromEntries(location.searchParams);
  expect(parameters).toEqual({
    appid: WX.appId,
    redirect_uri: "https://wx.example.com/connect/return",
    response_type: "code",
    scope: "snsapi_userinfo",
  });
  expect(state).toMatch(STATE);
  const back = await at.back(state ?? "", "sandbox-code-1");
  expect(back.status).toBe(302);
  expect(back.headers.get("cache-control")).toBe("no-store");
  expect(back.headers.get("referrer-policy")).toBe("no-referrer");
  const ours = back.location.searchParams.get("code");
  expect(back.headers.get("location")).toBe(
    `https://dev.example.com/cb?x=1&y=%E4%BD%A0&code=${ours}&state=%E4%BD%A0%E5%A5%BD%2F%3D+x#/login`,
  );
  expect(ours).not.toBe("sandbox-code-1");
  expect((await at.exchange(ours ?? "", await at.key("dev"))).code).toBe(0);
});

test("a refused consent brings the state alone", async () => {
  await using at = await LoginHarness.create();
  const back = await at.back(await at.begin("dev", { state: "mine" }));
  expect(back.headers.get("location")).toBe("https://dev.example.com/cb?state=mine");
});

test("a return that a browser repeats gets the same answer for a minute, and anything else a page", async () => {
  await using at = await LoginHarness.create();
  const state = await at.begin("dev");
  const first = await at.back(state, "sandbox-code-1");
  const again = await Promise.all([1, 2, 3].map(() => at.back(state, "sandbox-code-1")));
  for (const each of again) expect(each.location.href).toBe(first.location.href);
  const unknown = [
    await at.back(state, "sandbox-code-2"),
    await at.back(state),
    await at.back("f".repeat(32), "sandbox-code-1"),
    await at.back("<script>", "sandbox-code-1"),
    await at.open("/connect/return"),
    await at.open(`/connect/return?state=${state}&state=${state}&code=sandbox-code-1`),
  ];
  at.world.clock.advance(60_000);
  unknown.push(await at.back(state, "sandbox-code-1"));
  for (const { status, headers, text } of unknown) {
    expect(status).toBe(400);
    expect(headers.get("location")).toBeNull();
    expect(headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(text).not.toContain("<script");
  }
  expect(unknown[0]?.text).toContain("请回到原来的页面重新登录");
  expect(unknown[0]?.text).toContain("log in again");
});

test("a return that comes again writes nothing", async () => {
  await using at = await LoginHarness.create();
  const state = await at.begin("dev");
  await at.back(state, "sandbox-code-1");
  using other = new Database(at.world.databasePath);
  other.run("BEGIN IMMEDIATE");
  expect((await at.back(state, "sandbox-code-1")).status).toBe(302);
  expect((await at.back(state, "sandbox-code-2")).status).toBe(400);
  other.run("ROLLBACK");
});

test("two returns at once with different codes log in one of them", async () => {
  await using at = await LoginHarness.create();
  const state = await at.begin("dev");
  const answers = await Promise.all([1, 2, 3, 4].map((n) => at.back(state, `sandbox-code-${n}`)));
  expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([302, 400, 400, 400]);
});

test("a login waits for ten minutes, over a restart too", async () => {
  await using at = await LoginHarness.create();
  const [early, late] = [await at.begin("dev"), await at.begin("dev")];
  await at.world.stop();
  await at.world.start();
  at.world.clock.advance(599_000);
  expect((await at.back(early, "sandbox-code-1")).status).toBe(302);
  at.world.clock.advance(1000);
  expect((await at.back(late, "sandbox-code-2")).status).toBe(400);
});

test("production gets WeChat's own code, and every other environment one of ours", async () => {
  await using at = await LoginHarness.create();
  expect(await at.codeOf("prod", "sandbox-code-1")).toBe("sandbox-code-1");
  for (const environment of ["dev", "st"] as const) {
    const ours = await at.codeOf(environment, `sandbox-code-${environment}`);
    expect(ours).toMatch(/^[A-Za-z0-9_-]{32}$/);
    const direct = await fetch(
      `${at.world.sandbox.weixinUrl}/sns/oauth2/access_token?appid=${WX.appId}&secret=${WX.secret}&code=${ours}&grant_type=authorization_code`,
    );
    expect(await direct.json()).toMatchObject({ errcode: 40029 });
  }
});

const OTHERS: readonly [EnvironmentName, EnvironmentName][] = [
  ["dev", "prod"],
  ["prod", "dev"],
  ["dev", "st"],
];

test.each(OTHERS)(
  "a code collected by %s logs nobody in at %s, and is still good at home",
  async (of, by) => {
    await using at = await LoginHarness.create();
    const [home, other] = [await at.key(of), await at.key(by)];
    const code = await at.codeOf(of, "sandbox-code-1");
    const dropin = (key: string) =>
      at.world.get("/sns/oauth2/access_token", {
        appid: WX.appId,
        secret: key,
        code,
        grant_type: "authorization_code",
      }) as Promise<unknown> as Promise<{ text: string }>;
    expect(await at.exchange(code, other)).toMatchObject({ code: 40029 });
    expect((await dropin(other)).text).toContain('"errcode":40029');
    // WeChat's own code of that login, too: it was in the browser.
    expect(await at.exchange("sandbox-code-1", other)).toMatchObject({ code: 40029 });
    expect(at.world.sandbox.calls("/sns/oauth2/access_token")).toBe(0);
    const denied = at.world.events.filter(({ type }) => type === "access.denied");
    expect(denied).toHaveLength(3);
    expect(await at.exchange(code, home)).toMatchObject({ code: 0 });
  },
);

test("a code of ours is nothing to a caller that shows no environment, and one of production's is", async () => {
  await using at = await LoginHarness.create();
  const [dev, prod] = [await at.codeOf("dev", "sandbox-code-1"), await at.codeOf("prod", "sandbox-code-2")];
  expect(await at.exchange(dev)).toMatchObject({ code: 40029 });
  expect(await at.exchange("sandbox-code-1")).toMatchObject({ code: 40029 });
  expect(await at.exchange(prod)).toMatchObject({ code: 0 });
  // Without a login through us a code is what it was.
  expect(await at.exchange("sandbox-code-3")).toMatchObject({ code: 0 });
});

test("where dev was given WeChat's own codes, they log nobody in at prod either", async () => {
  await using at = await LoginHarness.create();
  await at.change("PUT", "/v1/environments/dev", { codes: "raw" });
  expect(await at.codeOf("dev", "sandbox-code-1")).toBe("sandbox-code-1");
  expect(await at.exchange("sandbox-code-1", await at.key("prod"))).toMatchObject({ code: 40029 });
  expect(await at.exchange("sandbox-code-1")).toMatchObject({ code: 40029 });
  expect(await at.exchange("sandbox-code-1", await at.key("dev"))).toMatchObject({ code: 0 });
});

test.each(OTHERS)("a code of %s that a login of %s returns with logs nobody in there", async (of, by) => {
  await using at = await LoginHarness.create();
  // Whichever of the two gets WeChat's own codes.
  await at.change("PUT", `/v1/environments/${of}`, { codes: "raw" });
  await at.change("PUT", `/v1/environments/${by}`, { codes: "relay" });
  const [home, other] = [await at.key(of), await at.key(by)];
  const theirs = await at.codeOf(of, "sandbox-code-1");
  const laundered = await at.codeOf(by, "sandbox-code-1");
  for (const key of [other, home, undefined])
    expect(await at.exchange(laundered, key)).toMatchObject({ code: 40029 });
  expect(at.world.sandbox.calls("/sns/oauth2/access_token")).toBe(0);
  expect(await at.exchange(theirs, home)).toMatchObject({ code: 0 });
});

test("after ten minutes nothing is known of a code", async () => {
  await using at = await LoginHarness.create();
  const code = await at.codeOf("dev", "sandbox-code-1");
  const key = await at.key("dev");
  at.world.clock.advance(600_000);
  expect(await at.exchange(code, key)).toMatchObject({ code: 40029 });
  expect(at.world.sandbox.calls("/sns/oauth2/access_token")).toBe(1);
});

test("WeCom's links and codes go the same way", async () => {
  await using at = await LoginHarness.create();
  const link = (path: string, more: Record<string, string>) =>
    at.open(
      `${path}?${new URLSearchParams({ appid: CORP, agentid: WECOM.agent, redirect_uri: `${HOME.dev}/cb`, state: "s", ...more }).toString()}`,
    );
  const sso = await link("/wwlogin/sso/login", { login_type: "CorpApp" });
  expect(sso.location.origin + sso.location.pathname).toBe(
    "https://login.work.weixin.qq.com/wwlogin/sso/login",
  );
  expect([...sso.location.searchParams.keys()]).toEqual([
    "login_type",
    "appid",
    "agentid",
    "redirect_uri",
    "state",
  ]);
  const page = await link("/connect/oauth2/authorize", { response_type: "code", scope: "snsapi_base" });
  expect(page.location.hash).toBe("#wechat_redirect");
  expect(page.location.searchParams.get("agentid")).toBe(WECOM.agent);
  const codeFrom = async ({ location }: Sent) => {
    const back = await at.back(location.searchParams.get("state") ?? "", "sandbox-code-1");
    return back.location.searchParams.get("code") ?? "";
  };
  const code = await codeFrom(sso);
  expect(code).not.toBe("sandbox-code-1");
  const infoBy = async (key: string, of = code) => {
    const path = `/gateway/${WECOM_APP}/cgi-bin/auth/getuserinfo?code=${of}`;
    const response = await fetch(at.world.service.url + path, { headers: { "x-api-key": key } });
    return (await response.json()) as { errcode: number; userid?: string };
  };
  expect(await infoBy(await at.key("prod"))).toMatchObject({ errcode: 40029 });
  const laundered = await codeFrom(await link("/wwlogin/sso/login", { redirect_uri: `${HOME.st}/cb` }));
  expect(await infoBy(await at.key("st"), laundered)).toMatchObject({ errcode: 40029 });
  expect(await infoBy(await at.key("dev"))).toMatchObject({ errcode: 0 });
});

test("a link of the relay page is taken under the same list", async () => {
  await using at = await LoginHarness.create();
  const open = (more: Record<string, string>) =>
    at.open(
      `/get-weixin-code.html?${new URLSearchParams({ appid: WX.appId, state: "s", redirect_uri: `${HOME.st}/cb`, ...more }).toString()}`,
    );
  const phone = await open({ scope: "snsapi_userinfo" });
  expect(phone.location.pathname).toBe("/connect/oauth2/authorize");
  expect(phone.location.searchParams.get("scope")).toBe("snsapi_userinfo");
  expect((await open({})).location.searchParams.get("scope")).toBe("snsapi_base");
  const pc = await open({ device: "pc" });
  expect(pc.location.pathname).toBe("/connect/qrconnect");
  expect(pc.location.searchParams.get("scope")).toBe("snsapi_login");
  expect(pc.location.searchParams.has("device")).toBeFalse();
  const back = await at.back(phone.location.searchParams.get("state") ?? "", "sandbox-code-1");
  expect(back.location.origin).toBe(HOME.st);
  expect((await open({ redirect_uri: "https://evil.example/" })).status).toBe(400);
});

test("an app, a redirect or a link that is not right gets a page that says what to do", async () => {
  await using at = await LoginHarness.create();
  const base = {
    appid: WX.appId,
    redirect_uri: `${HOME.dev}/cb`,
    response_type: "code",
    scope: "snsapi_base",
    state: "s",
  };
  const open = (query: Record<string, string>, path = "/connect/oauth2/authorize") =>
    at.open(`${path}?${new URLSearchParams(query).toString()}`);
  const wrong = [
    await open({ ...base, appid: "wx0000000000000099" }),
    await open({ ...base, redirect_uri: "https://evil.example/cb" }),
    await open({ ...base, redirect_uri: "" }),
    await open({ ...base, appid: CORP }, "/connect/qrconnect"),
    await open({ ...base }, "/wwlogin/sso/login"),
  ];
  for (const { status, headers, text } of wrong) {
    expect([status, headers.get("location")]).toEqual([400, null]);
    expect(text).not.toContain("evil");
  }
  expect(wrong[1]?.text).toContain("accesstoken origins add");
  expect((await at.open("/connect/oauth2/authorize", { method: "POST" })).status).toBe(405);
  expect((await at.open(`/connect/return?state=${await at.begin("dev")}`, { method: "HEAD" })).status).toBe(
    405,
  );
});

test("a state of up to 2048 bytes comes back, and a longer one gets a page that says so", async () => {
  await using at = await LoginHarness.create();
  const state = "x".repeat(2048);
  const back = await at.back(await at.begin("dev", { state }), "sandbox-code-1");
  expect(back.location.searchParams.get("state")).toBe(state);
  const query = new URLSearchParams({ appid: WX.appId, redirect_uri: `${HOME.dev}/cb`, state: `${state}x` });
  const { status, text } = await at.open(`/connect/oauth2/authorize?${query.toString()}`);
  expect(status).toBe(400);
  expect(text).toContain("state is too long");
});

test("without PUBLIC_URL a login does not begin, and the page says why", async () => {
  await using at = await LoginHarness.create({ environment: { PUBLIC_URL: "" } });
  const query = new URLSearchParams({ appid: WX.appId, redirect_uri: `${HOME.dev}/cb`, state: "s" });
  const { status, text } = await at.open(`/connect/oauth2/authorize?${query.toString()}`);
  expect(status).toBe(503);
  expect(text).toContain("PUBLIC_URL");
});

test("verification files are at the root, as they were given", async () => {
  await using at = await LoginHarness.create();
  const name = "MP_verify_a1B2c3D4.txt";
  expect((await at.open(`/${name}`)).status).toBe(404);
  expect(await at.change("PUT", `/v1/verify-files/${name}`, { content: "a1B2c3D4" })).toMatchObject({
    code: 0,
  });
  const file = await at.open(`/${name}`);
  expect([file.status, file.text, file.headers.get("content-type")]).toEqual([
    200,
    "a1B2c3D4",
    "text/plain; charset=utf-8",
  ]);
  expect(await at.change("PUT", "/v1/verify-files/WW_verify_x.txt", { content: "<script>" })).toMatchObject({
    code: 1,
  });
  expect((await at.world.administer(`/v1/verify-files/${name}`, { method: "DELETE" })).code).toBe(0);
  expect((await at.open(`/${name}`)).status).toBe(404);
});

test("an app for logins only exchanges codes, has no credentials, and nothing is asked of WeChat for any", async () => {
  const appId = "wx00000000000000bb";
  await using at = await LoginHarness.create();
  const secret = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
  const app = { platform: "weixin", app_id: appId, secret, login_only: true };
  expect(await at.change("POST", "/v1/apps", { ...app, verify: true })).toMatchObject({ code: 1 });
  const made = await at.change("POST", "/v1/apps", app);
  expect(made.data).toMatchObject({ login_only: true, credentials: {} });
  await at.allow(appId, "dev", [HOME.dev]);
  const query = {
    appid: appId,
    redirect_uri: `${HOME.dev}/cb`,
    response_type: "code",
    scope: "snsapi_login",
  };
  const sent = await at.open(`/connect/qrconnect?${new URLSearchParams(query).toString()}`);
  const back = await at.back(sent.location.searchParams.get("state") ?? "", "sandbox-code-1");
  const key = await at.key("dev");
  const code = back.location.searchParams.get("code") ?? "";
  const ask = (path: string, init: RequestInit = {}) =>
    at.world.request(path, { ...init, headers: { "x-api-key": key, "content-type": "application/json" } });
  const body = JSON.stringify({ code, wx_app_id: appId });
  expect(await ask("/AccessToken/getOauthAccessToken", { method: "POST", body })).toMatchObject({ code: 0 });
  for (const path of [
    `/AccessToken/getXcx?appid=${appId}`,
    `/v1/apps/${appId}/credentials/access_token`,
    `/v1/apps/${appId}/credentials/jsapi_ticket`,
  ])
    expect(await ask(path)).not.toMatchObject({ code: 0 });
  expect((await ask(`/AccessToken/getXcx?appid=${appId}`)).msg).toContain("仅用于网页登录");
  expect(at.world.sandbox.calls("/cgi-bin/stable_token")).toBe(0);
  expect((await at.world.administer(`/v1/apps/${appId}`)).data).toMatchObject({
    login_only: true,
    credentials: {},
  });
});

test("a page of a host that is no JS domain of the app is signed all the same, and the answer says so", async () => {
  const appId = "wx00000000000000bb";
  await using at = await LoginHarness.create();
  const secret = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
  await at.change("POST", "/v1/apps", { platform: "weixin", app_id: appId, secret });
  const sign = async (url: string) => {
    const { text } = await at.world.post("/JsSDK/getJsApiSign", { wx_app_id: appId, url });
    return JSON.parse(text) as { code: number; hint?: string };
  };
  expect((await sign("https://other.example/")).hint).toBeUndefined();
  const { data } = await at.change("PATCH", `/v1/apps/${appId}`, { js_domains: ["example.com"] });
  expect(data["js_domains"]).toEqual(["example.com"]);
  for (const url of ["https://example.com/a", "https://www.example.com/a"])
    expect(await sign(url)).not.toHaveProperty("hint");
  const foreign = await sign("https://notexample.com/a");
  expect(foreign.code).toBe(0);
  expect(foreign.hint).toContain("invalid url domain");
  await at.change("PATCH", `/v1/apps/${appId}`, { js_domains: [] });
  expect(await sign("https://notexample.com/a")).not.toHaveProperty("hint");
});

test("P6: where a login returns to, its state and its codes are in no event, no metric and no file", async () => {
  await using at = await LoginHarness.create();
  const [path, state, raw] = ["/cb/canaryPath?ticket=canaryTicket", "canaryState", "sandbox-code-canaryCode"];
  const ours = await at.begin("dev", { path, state });
  const back = await at.back(ours, raw);
  const code = back.location.searchParams.get("code") ?? "";
  await at.exchange(code, await at.key("prod"));
  await at.exchange(code, await at.key("dev"));
  await at.back(ours, "sandbox-code-canaryOther");
  await at.back("canaryUnknownState", raw);
  const wrong = { appid: "canaryApp", redirect_uri: "https://evil.example/canaryEvil", state: "canaryState" };
  await at.open(`/connect/oauth2/authorize?${new URLSearchParams(wrong).toString()}`);
  const metrics = await at.world.service.handle(new Request("http://localhost/metrics"));
  const seen = [JSON.stringify(at.world.events), await metrics.text()];
  // What was counted is written.
  await at.world.stop();
  await at.world.start();
  const audit = await at.world.administer("/v1/audit/denials");
  seen.push(audit.text);
  const folder = join(at.world.folder, "data");
  for (const file of readdirSync(folder)) seen.push(readFileSync(join(folder, file), "latin1"));
  const secrets = [
    "canaryPath",
    "canaryTicket",
    "canaryState",
    "canaryCode",
    "canaryOther",
    "canaryEvil",
    code,
  ];
  expect(secrets.filter((secret) => seen.some((text) => text.includes(secret)))).toEqual([]);
  expect(audit.text).toContain("40029");
});
