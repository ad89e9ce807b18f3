import { expect, test } from "bun:test";
import { rawRequest } from "../support/raw-http.ts";
import { allRoutes } from "../support/routes.ts";
import { CORP, WECOM, Harness, WX } from "../support/harness.ts";

/** Other spellings of a path, all of which Bun resolves to it. */
function spellingsOf(path: string): string[] {
  const inside = path.lastIndexOf("/");
  return [
    `/.${path}`,
    `/%2e${path}`,
    `/nope/..${path}`,
    `/nope/%2e%2e${path}`,
    `/nope/.%2E${path}`,
    `/nope\\..${path}`,
    `/swagger/..${path}`,
    `/v1/apps/example/..${path === "/" ? "/../.." : `/../..${path}`}`,
    `${path.slice(0, inside)}/./${path.slice(inside + 1)}`,
    ...(inside > 0 ? [`${path.slice(0, inside)}\\${path.slice(inside + 1)}`] : []),
  ];
}

function handledIn(world: Harness): string[] {
  return world.events.flatMap((event) => (event.type === "request.handled" ? [event.route] : []));
}

test.each(allRoutes().map(({ method, path }) => [`${method} ${path}`]))(
  "%s is not reached by a path that has to be resolved first",
  async (route) => {
    await using world = await Harness.create();
    const [method = "", path = ""] = route.split(" ");
    for (const target of spellingsOf(path)) {
      const head = `${method} ${target}?x=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
      const answer = await rawRequest(world.service.url, head);
      expect([target, answer.status]).toEqual([target, 400]);
      expect(JSON.parse(answer.body)).toMatchObject({ code: 1, data: {} });
    }
    expect(handledIn(world)).toEqual([]);
    expect(world.sandbox.calls()).toBe(0);
  },
);

const QUERY = { grant_type: "client_credential", appid: WX.appId, secret: WX.secret };
const WECOM_QUERY = { corpid: CORP, corpsecret: WECOM.secret };

/** Paths of WeChat's, each with what would be answered if it were reached. */
const ROOT: readonly (readonly [path: string, query: Record<string, string>])[] = [
  ["/cgi-bin/token", QUERY],
  ["/cgi-bin/gettoken", WECOM_QUERY],
  ["/sns/jscode2session", { ...QUERY, grant_type: "authorization_code", js_code: "sandbox-code-1" }],
  ["/cgi-bin/ticket/getticket", { type: "jsapi" }],
  ["/cgi-bin/getcallbackip", {}],
  ["/wxa/msg_sec_check", {}],
  [`/gateway/${WX.appId}/cgi-bin/getcallbackip`, {}],
];

/** Where a slash or a dot is written in another way, which somebody on the way may read as it is meant. */
function disguisesOf(path: string): string[] {
  const inside = path.lastIndexOf("/");
  return [
    `${path.slice(0, inside)}%2f${path.slice(inside + 1)}`,
    `${path.slice(0, inside)}%5C${path.slice(inside + 1)}`,
    `${path.slice(0, inside)}/%2e%2e%2f${path.slice(inside + 1)}`,
    `${path.slice(0, inside)}/..;/${path.slice(inside + 1)}`,
    `${path}%00`,
    `${path};x=1`,
  ];
}

test.each(ROOT)("%s is not reached in another spelling, and nothing goes up", async (path, query) => {
  await using world = await Harness.create();
  const { data } = await world.get("/AccessToken/getXcx", { appid: WX.appId });
  const search = new URLSearchParams({ ...query, access_token: String(data["access_token"]) }).toString();
  const calls = world.sandbox.calls();
  for (const target of [...spellingsOf(path), ...disguisesOf(path)]) {
    const head = `GET ${target}?${search} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
    const { status, body } = await rawRequest(world.service.url, head);
    const { errcode } = JSON.parse(body) as { errcode?: number };
    // The gateway wants to see a key before it looks at what is behind the app's name.
    const isRefused = errcode === 40066 || (errcode === 41001 && target.startsWith("/gateway/"));
    expect([target, status, isRefused]).toEqual([target, 200, true]);
  }
  expect(world.sandbox.calls()).toBe(calls);
});

test("a path of ours that hides behind one of WeChat's is not reached", async () => {
  await using world = await Harness.create();
  for (const target of [
    "/cgi-bin/../livez",
    "/cgi-bin/..%2flivez",
    "/sns/%2e%2e/v1/apps",
    "/cgi-bin\\..\\metrics",
  ]) {
    const head = `GET ${target}?access_token=x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
    const { body } = await rawRequest(world.service.url, head);
    expect([target, body]).toEqual([target, expect.stringMatching(/"(errcode":40066|code":1),/)]);
  }
  expect(handledIn(world).filter((route) => route !== "(none)")).toEqual([]);
});

test("a name of dots in a path is no way to the route above", async () => {
  await using world = await Harness.create();
  const targets = [
    "DELETE /v1/clients/example/keys/..",
    "DELETE /v1/clients/example/keys/%2e%2e",
    "GET /v1/apps/..",
    "GET /v1/apps/%2E",
    "GET /v1/apps/x\\..\\..\\..\\livez",
    "GET /v1/apps/../credentials/..",
  ];
  for (const target of targets) {
    const head = `${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
    expect([target, (await rawRequest(world.service.url, head)).status]).toEqual([target, 400]);
  }
  expect(handledIn(world)).toEqual([]);
});

test("dots that name no segment, or stand in the query, are what they are", async () => {
  await using world = await Harness.create();
  expect((await world.get("/livez?x=/../..")).status).toBe(200);
  // No app has such a name, but it is the route for names of apps that says so.
  for (const name of ["a..b", "..a", "..."]) await world.get(`/v1/apps/${name}`);
  expect(handledIn(world)).toEqual(["/livez", ...Array<string>(3).fill("/v1/apps/:app")]);
});

test("a last slash is taken no notice of, as ever", async () => {
  await using world = await Harness.create();
  for (const path of ["/livez", "/livez/", "/v1/apps", "/v1/apps/"]) {
    expect([path, (await world.get(path)).status]).toEqual([path, 200]);
  }
});
