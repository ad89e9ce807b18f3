import { expect, test } from "bun:test";
import { rawRequest } from "../support/raw-http.ts";
import { createAdmin } from "../support/access-harness.ts";
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

test.each(["/v1/audit", "/v1/clients", "/livez", "/AccessToken/getXcx"])(
  "%s is the same route with the same guard, however its path was written",
  async (path) => {
    await using world = await Harness.create();
    await createAdmin(world);
    const ask = async (target: string) => {
      const head = `GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
      const { status, body } = await rawRequest(world.service.url, head);
      return [status, (JSON.parse(body) as { code: number }).code];
    };
    const plain = await ask(path);
    for (const target of spellingsOf(path))
      expect([target, ...(await ask(target))]).toEqual([target, ...plain]);
    const routes = handledIn(world).filter(
      (route) => route !== "/v1/clients" && route !== "/v1/clients/:client/keys",
    );
    expect([...new Set(routes)]).toEqual(path === "/v1/clients" ? [] : [path]);
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
  for (const target of disguisesOf(path)) {
    const head = `GET ${target}?${search} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
    const { status, body } = await rawRequest(world.service.url, head);
    const { errcode } = JSON.parse(body) as { errcode?: number };
    // The gateway wants to see a key before it looks at what is behind the app's name.
    const isRefused = errcode === 40066 || (errcode === 41001 && target.startsWith("/gateway/"));
    expect([target, status, isRefused]).toEqual([target, 200, true]);
  }
  expect(world.sandbox.calls()).toBe(calls);
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
