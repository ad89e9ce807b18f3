import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { createClient } from "../support/access-harness.ts";
import { rawGet } from "../support/raw-http.ts";
import { Harness, WX } from "../support/harness.ts";

const TOKEN = `/AccessToken/getXcx?appid=${WX.appId}`;
const PATHS = [
  "/",
  TOKEN,
  `/AccessToken/clearXcx?appid=${WX.appId}`,
  "/AccessToken/getQyapi?corpid=ww1",
  "/AccessToken/clearQyapi?corpid=ww1",
  "/JsSDK/getJsApiSign",
  "/AccessToken/getOauthAccessToken",
  `/xcx/jscode2session?appid=${WX.appId}&code=sandbox-code-1`,
  "/swagger",
  "/swagger/json",
  "/swagger/ui.js",
  "/nope",
];
const HAS_IPV6 = Object.values(networkInterfaces())
  .flat()
  .some((at) => at?.address === "::1");

function setup(environment: Record<string, string> = {}): Promise<Harness> {
  return Harness.create({ environment });
}

/** What the service says to a request with these headers: the envelope's code, or the HTTP status if there is none. */
async function codeOf(
  world: Harness,
  headers: readonly string[],
  { path = TOKEN, from, url = world.service.url }: { path?: string; from?: string; url?: string } = {},
): Promise<number> {
  const { body, status } = await rawGet(url, path, headers, from);
  return body === "" ? status : (JSON.parse(body) as { code: number }).code;
}

const LOCAL = "Host: localhost";

test("a caller on loopback is answered when nothing is set", async () => {
  await using world = await setup();
  expect(await codeOf(world, [LOCAL])).toBe(0);
  expect(await codeOf(world, [LOCAL], { from: "127.0.0.2" })).toBe(0);
});

test("a caller outside TRUSTED_NETWORKS gets code 403 on every path, and nothing is asked or done", async () => {
  await using world = await setup({ TRUSTED_NETWORKS: "10.0.0.0/8,127.0.0.1/32" });
  expect(await codeOf(world, [LOCAL])).toBe(0);
  world.sandbox.resetCalls();
  for (const path of PATHS) {
    const answer = await rawGet(world.service.url, path, [LOCAL], "127.0.0.2");
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body)).toMatchObject({ code: 403, data: {} });
    expect(answer.headers.get("cache-control")).toBe("no-store");
  }
  expect(world.sandbox.calls()).toBe(0);
});

test.each([
  ["from an untrusted address", { TRUSTED_NETWORKS: "10.0.0.0/8" }, [LOCAL], 403],
  ["without the key that is needed", { ANONYMOUS: "off" }, [LOCAL], 401],
  ["through an unknown proxy", {}, [LOCAL, "X-Forwarded-For: 10.0.0.1"], 403],
  ["by an unknown name", {}, ["Host: evil.example"], 403],
])(
  "a caller %s is told the file that says who is answered, since it can open no link of ours",
  async (_, environment, headers, code) => {
    await using world = await setup(environment);
    const { body } = await rawGet(world.service.url, TOKEN, headers);
    const { code: got, hint } = JSON.parse(body) as { code: number; hint?: string };
    expect([got, hint]).toEqual([code, expect.stringMatching(/docs\/zh\/access\.md.*docs\/access\.md/)]);
    expect(hint).not.toMatch(/https?:|\/\/|\(\/|#/);
    for (const [path] of hint?.matchAll(/docs\/[\w/]+\.md/g) ?? [])
      expect([path, existsSync(join(import.meta.dir, "../..", path))]).toEqual([path, true]);
  },
);

test("loopback is no exception when TRUSTED_NETWORKS does not name it", async () => {
  await using world = await setup({ TRUSTED_NETWORKS: "10.0.0.0/8" });
  expect(await codeOf(world, [LOCAL])).toBe(403);
});

test.skipIf(!HAS_IPV6)(
  "a caller on IPv6 loopback is answered, and one that comes mapped is IPv4",
  async () => {
    await using world = await setup({ HOST: "::", TRUSTED_NETWORKS: "127.0.0.0/8" });
    const { port } = new URL(world.service.url);
    const [ipv4, ipv6] = [`http://127.0.0.1:${port}`, `http://[::1]:${port}`];
    expect(await codeOf(world, [LOCAL], { url: ipv4 })).toBe(0);
    expect(await codeOf(world, [LOCAL], { url: ipv6 })).toBe(403);
    await world.stop();
    await world.start({ HOST: "::1", TRUSTED_NETWORKS: "" });
    expect(await codeOf(world, ["Host: [::1]"], { url: world.service.url })).toBe(0);
  },
);

test.each([
  "X-Forwarded-For: 127.0.0.1",
  "X-Forwarded-For: ",
  "Forwarded: for=127.0.0.1",
  "X-Real-IP: 127.0.0.1",
  "X-Forwarded-Host: localhost",
  "X-Forwarded-Proto: https",
  "x-forwarded-for: 10.0.0.1",
])("a forwarding header (%s) from a peer that is no listed proxy is code 403", async (header) => {
  await using world = await setup();
  expect(await codeOf(world, [LOCAL, header])).toBe(403);
  expect(world.sandbox.calls()).toBe(0);
});

test.each([
  "X-Forwarded-Proto: https",
  "X-Forwarded-For: 203.0.113.9",
  "Via: 1.1 mesh",
  "Sec-Fetch-Site: cross-site",
])(
  "a caller with a key or the app's true secret is answered by whichever way it comes: %s",
  async (header) => {
    await using world = await setup();
    const key = await createClient(world, {
      name: "bot",
      grants: [{ apps: ["*"], actions: ["token:read"] }],
    });
    const headers = [LOCAL, header];
    expect(await codeOf(world, [...headers, `Authorization: Bearer ${key}`])).toBe(0);
    for (const proof of [WX.secret, key]) {
      expect(await codeOf(world, headers, { path: `${TOKEN}&secret=${proof}` })).toBe(0);
      const dropin = `/cgi-bin/token?grant_type=client_credential&appid=${WX.appId}&secret=${proof}`;
      const answer = JSON.parse((await rawGet(world.service.url, dropin, headers)).body) as object;
      expect(answer).toHaveProperty("access_token");
    }
    expect(await codeOf(world, headers)).toBe(403);
    expect(await codeOf(world, headers, { path: `${TOKEN}&secret=wrong` })).not.toBe(0);
    expect(world.sandbox.calls()).toBe(1);
  },
);

test("a folded header is HTTP 400, and nothing is routed", async () => {
  await using world = await setup({ TRUSTED_PROXIES: "127.0.0.1", TRUSTED_NETWORKS: "10.0.0.0/8" });
  const { status } = await rawGet(world.service.url, TOKEN, [
    LOCAL,
    "X-Forwarded-For: 10.1.2.3\r\n , 10.1.2.4",
  ]);
  expect(status).toBe(400);
  expect(world.sandbox.calls()).toBe(0);
});

test("a 403 names the address that it saw, and the variable", async () => {
  await using world = await setup({ TRUSTED_NETWORKS: "10.0.0.0/8" });
  const { body } = await rawGet(world.service.url, TOKEN, [LOCAL], "127.0.0.2");
  expect(body).toMatch(/ 127\.0\.0\.2 .*TRUSTED_NETWORKS/);
});

test.each([
  ["10.1.2.3", 0],
  ["203.0.113.9, 10.1.2.3", 0],
  ["10.1.2.3, 127.0.0.1", 0],
  ["10.1.2.3,127.0.0.5 ,127.0.0.1", 0],
  ["::ffff:10.1.2.3", 0],
  ["10.1.2.3, 203.0.113.9", 403],
  ["10.1.2.3, 203.0.113.9, 127.0.0.1", 403],
  ["10.1.2.3, nonsense", 403],
  ["10.1.2.3,", 403],
  ["127.0.0.1", 403],
  ["unknown", 403],
  ["10.1.2.3:80", 0],
  ["10.1.2.3:51008, 127.0.0.1:443", 0],
  ["203.0.113.9:51008", 403],
  ["10.1.2.3:port", 403],
  ["", 403],
] as const)("behind a listed proxy, X-Forwarded-For '%s' is code %i", async (forwarded, code) => {
  await using world = await setup({ TRUSTED_PROXIES: "127.0.0.0/8", TRUSTED_NETWORKS: "10.0.0.0/8" });
  expect(await codeOf(world, [LOCAL, `X-Forwarded-For: ${forwarded}`])).toBe(code);
});

test("behind a listed proxy the rightmost entry counts also across several headers", async () => {
  await using world = await setup({ TRUSTED_PROXIES: "127.0.0.1", TRUSTED_NETWORKS: "10.0.0.0/8" });
  const [near, far] = ["X-Forwarded-For: 10.1.2.3", "X-Forwarded-For: 203.0.113.9"];
  expect(await codeOf(world, [LOCAL, far, near])).toBe(0);
  expect(await codeOf(world, [LOCAL, near, far])).toBe(403);
});

test("a listed proxy that sends no X-Forwarded-For is code 403, also on loopback", async () => {
  await using world = await setup({ TRUSTED_PROXIES: "127.0.0.1" });
  expect(await codeOf(world, [LOCAL])).toBe(403);
  expect(await codeOf(world, [LOCAL, "X-Real-IP: 127.0.0.9"])).toBe(403);
  expect(await codeOf(world, [LOCAL], { from: "127.0.0.2" })).toBe(0);
});

test("P7: the address on record is the one that the proxy vouches for", async () => {
  await using world = await setup({ TRUSTED_PROXIES: "127.0.0.1", TRUSTED_NETWORKS: "10.0.0.0/8" });
  const headers = [LOCAL, "X-Forwarded-For: 203.0.113.9, 10.1.2.3"];
  expect(await codeOf(world, headers)).toBe(0);
  expect(await codeOf(world, headers, { path: `/AccessToken/clearXcx?appid=${WX.appId}` })).toBe(0);
  expect(world.events).toContainEqual(
    expect.objectContaining({ type: "credential.cleared", address: "10.1.2.3" }),
  );
});

test.each([
  ["cross-site", 403],
  ["same-site", 403],
  ["same-origin", 0],
  ["none", 0],
] as const)("a browser's request with Sec-Fetch-Site: %s is code %i", async (site, code) => {
  await using world = await setup();
  expect(await codeOf(world, [LOCAL, `Sec-Fetch-Site: ${site}`])).toBe(code);
});

test.each([
  ["localhost", 0],
  ["LOCALHOST:3000", 0],
  ["127.0.0.1:3000", 0],
  ["192.168.1.5", 0],
  ["[::1]", 0],
  ["[::1]:3000", 0],
  ["token.example.com", 0],
  ["token.example.com.", 0],
  ["token.example.com.:3000", 0],
  ["token_service:3000", 0],
  ["evil.example.", 403],
  ["Token.Example.Com:8443", 0],
  ["evil.example", 403],
  ["localhost.evil.example", 403],
  ["a.token.example.com", 403],
  ["token.example.com.evil.example", 403],
  ["127.0.0.1.evil.example", 403],
] as const)("a request for Host %s is code %i", async (host, code) => {
  await using world = await setup({ ALLOWED_HOSTS: "other.example, token.example.com., token_service" });
  expect(await codeOf(world, [`Host: ${host}`])).toBe(code);
});

test("a Host name is code 403 when ALLOWED_HOSTS names none, on every path", async () => {
  await using world = await setup();
  for (const path of PATHS) {
    expect(await codeOf(world, ["Host: token.example.com"], { path })).toBe(403);
  }
  expect(world.sandbox.calls()).toBe(0);
});

test.each(PATHS)("a Host under four characters is HTTP 400 on %s, and nothing is routed", async (path) => {
  await using world = await setup();
  for (const host of ["x", "ab", "abc", "a:1", ""]) {
    const answer = await rawGet(world.service.url, path, [`Host: ${host}`]);
    expect([host, answer.status]).toEqual([host, 400]);
    expect(JSON.parse(answer.body)).toMatchObject({ code: 1, data: {} });
  }
  // With so short a name the router would take the rest of this path for the whole of it.
  expect((await rawGet(world.service.url, `/admin${path}`, ["Host: x"])).status).toBe(400);
  expect(world.sandbox.calls()).toBe(0);
  expect(world.events.filter(({ type }) => type === "request.handled")).toEqual([]);
});

test.each([
  ["no Host at all", []],
  ["two Hosts", ["Host: localhost", "Host: localhost"]],
  ["two different Hosts", ["Host: localhost", "Host: evil.example"]],
  ["blanks", ["Host: local host"]],
  ["a slash", ["Host: localhost/x"]],
  ["a user", ["Host: user@localhost"]],
  ["a query", ["Host: localhost?x"]],
  ["a word for a port", ["Host: localhost:port"]],
  ["an open bracket", ["Host: [::1"]],
  ["a zone", ["Host: [fe80::1%eth0]"]],
  ["a zone, encoded", ["Host: [fe80::1%25eth0]"]],
  ["two dots at its end", ["Host: localhost.."]],
  ["a list", ["Host: localhost,localhost"]],
  ["letters beyond ASCII", ["Host: löcalhost"]],
])("a request with %s is HTTP 400, and nothing is routed", async (_what, headers) => {
  await using world = await setup();
  expect((await rawGet(world.service.url, TOKEN, headers)).status).toBe(400);
  expect(world.sandbox.calls()).toBe(0);
  expect(world.events.filter(({ type }) => type === "request.handled")).toEqual([]);
});
