import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { createApiKey } from "../../src/access/api-key.ts";
import { DoctorHarness, expectTroubles, type SetUp } from "../support/doctor-harness.ts";
import { WX } from "../support/harness.ts";
import { Child } from "../support/child.ts";
import { ask, binary } from "../support/process-harness.ts";
import { selfSigned } from "../upstream/certificate.ts";

/** Where nobody listens, and no other test comes to listen. */
const NOBODY = "http://127.0.0.1:1";

let harness: DoctorHarness;
beforeAll(async () => {
  harness = await DoctorHarness.start();
}, 120_000);
afterAll(() => harness[Symbol.asyncDispose]());

/** Both upstreams of a set-up. */
function ofUpstream(url: string): Record<string, string> {
  return { WEIXIN_BASE_URL: url, WECOM_BASE_URL: url };
}

test("a clock that is off is found by the upstreams' own", async () => {
  const at = harness.setUp();
  const date = new Date(Date.now() + 3_600_000).toUTCString();
  using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => new Response("", { headers: { date } }),
  });
  at.set(ofUpstream(server.url.origin));
  expectTroubles(await at.diagnose(), [[18, "fail", /timedatectl/]]);
});

test("an upstream that can't be reached is named, and not looked for by --offline", async () => {
  const at = harness.setUp();
  at.set({ WECOM_BASE_URL: NOBODY });
  expectTroubles(await at.diagnose(), [[20, "fail", /let connections to port 443 out/]]);
  const { code, checks } = await at.diagnose(["--offline"]);
  expectTroubles({ code, checks }, []);
  expect(checks.filter(({ area }) => area === "upstream").map(({ state }) => state)).toEqual([
    "skipped",
    "skipped",
    "ok",
    "ok",
    "ok",
  ]);
});

test("UPSTREAM_ECHO tells the address of this machine, and is not asked by --offline; one that does not tell is named", async () => {
  const at = harness.setUp();
  let asked = 0;
  using echo = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: ({ url }) => new Response(++asked && url.endsWith("/ip") ? '{"ip":"203.0.113.7"}' : "hello"),
  });
  const told = async (options: readonly string[] = []) =>
    (await at.diagnose(options)).checks.find(({ name }) => name === "outgoing_address");
  at.set({ UPSTREAM_ECHO: new URL("/ip", echo.url).href });
  expect(await told()).toMatchObject({
    state: "ok",
    message: { en: "203.0.113.7, no app was refused for its address" },
  });
  expect(asked).toBe(1);
  expect((await told(["--offline"]))?.message.en).toBe("no app was refused for its address");
  expect(asked).toBe(1);
  at.set({ UPSTREAM_ECHO: echo.url.href });
  expectTroubles(await at.diagnose(), [[22, "warn", /correct or remove UPSTREAM_ECHO/]]);
  at.set({ UPSTREAM_ECHO: NOBODY });
  expectTroubles(await at.diagnose(), [[22, "warn", /correct or remove UPSTREAM_ECHO/]]);
});

test("an upstream that never answers is waited for no longer than a while", async () => {
  const at = harness.setUp();
  using silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
  at.set({ WEIXIN_BASE_URL: `http://127.0.0.1:${silent.port}` });
  expectTroubles(await at.diagnose(), [[20, "fail", /let connections to port 443 out/]]);
});

test("one that is stopped in its midst leaves nothing beside the database", async () => {
  const at = harness.setUp();
  const asked = Promise.withResolvers<void>();
  using silent = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { data: () => asked.resolve() },
  });
  at.set({ WEIXIN_BASE_URL: `http://127.0.0.1:${silent.port}` });
  const before = at.look();
  await using child = new Child([...binary(), "doctor"], { cwd: at.folder });
  await asked.promise;
  expect(at.look()).not.toEqual(before);
  child.signal("SIGTERM");
  expect(await child.exited()).toBe(1);
  expect(at.look()).toEqual(before);
});

test("a certificate that is not trusted is told from a host that is away", async () => {
  const at = harness.setUp();
  using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    tls: selfSigned("localhost"),
    fetch: () => new Response(""),
  });
  at.set(ofUpstream(`https://localhost:${server.port}`));
  expectTroubles(await at.diagnose(), [[20, "fail", /NODE_EXTRA_CA_CERTS/]]);
});

test("a proxy that is down is named, and nothing that is behind it", async () => {
  const at = harness.setUp();
  at.set({ UPSTREAM_PROXY: NOBODY });
  expectTroubles(await at.diagnose(), [[21, "fail", /correct UPSTREAM_PROXY/]]);
});

test.each([
  [40164, 22, /add 203\.0\.113\.7 to the IP allow-list.*apps unblock wx00000000000000aa/],
  [40125, 23, /apps unblock wx00000000000000aa/],
])("an app that WeChat refuses with %i is named", async (errcode, id, remedy) => {
  const at = harness.setUp();
  await at.serving(async (url) => {
    harness.world.sandbox.inject({ kind: "error", errcode, times: 3, endpoint: "/cgi-bin/stable_token" });
    await at.command("token", "clear", WX.appId);
    const { code } = await ask(url, "/AccessToken/getXcx", { appid: WX.appId });
    harness.world.sandbox.clearFaults();
    expect(code).toBe(errcode);
  });
  expectTroubles(await at.diagnose(), [[id, "fail", remedy]]);
});

/** A proxy before the service of a set-up that is running, and what the doctor says through it. */
async function behindProxy(
  at: SetUp,
  pass: (request: Request, service: string) => Promise<Response>,
  work: () => Promise<void>,
  variables: Record<string, string> = {},
): Promise<void> {
  let service = "";
  const tls = selfSigned("localhost");
  using proxy = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 60,
    tls,
    fetch: (request) => pass(request, service),
  });
  writeFileSync(at.path("ca.pem"), tls.cert);
  at.set({ PUBLIC_URL: `https://localhost:${proxy.port}`, PUBLIC_URL_SERVES: "all", ...variables });
  await at.serving(async (url) => {
    service = url;
    await work();
  });
}

/** Passes a request on with these headers added. */
async function passOn(request: Request, service: string, added: Record<string, string>): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  const headers = new Headers(request.headers);
  for (const [name, value] of Object.entries(added)) headers.set(name, value);
  const answer = await fetch(service + pathname + search, { headers, proxy: false } as BunFetchRequestInit);
  return new Response(answer.body, { status: answer.status, headers: answer.headers });
}

const FORWARDED = { "x-forwarded-for": "127.0.0.1" };

test("a proxy that says for whom it asks, and is listed, is no trouble, with a stream through it", async () => {
  const at = harness.setUp();
  const diagnose = async () =>
    expectTroubles(
      await at.diagnose(["--key-file", "shop.key"], { NODE_EXTRA_CA_CERTS: at.path("ca.pem") }),
      [],
    );
  await behindProxy(at, (request, service) => passOn(request, service, FORWARDED), diagnose, {
    TRUSTED_PROXIES: "127.0.0.1",
  });
});

test("a proxy that says for whom it asks, and is not listed, is named", async () => {
  const at = harness.setUp();
  const diagnose = async () =>
    expectTroubles(await at.diagnose([], { NODE_EXTRA_CA_CERTS: at.path("ca.pem") }), [
      [32, "warn", /list the proxy in TRUSTED_PROXIES/],
    ]);
  await behindProxy(at, (request, service) => passOn(request, service, FORWARDED), diagnose);
});

test.each([
  ["is listed", { TRUSTED_PROXIES: "127.0.0.1" }],
  ["is not listed, so that everybody is trusted", { ANONYMOUS: "on" }],
])("a proxy that does not say for whom it asks, and %s, is named", async (_, variables) => {
  const at = harness.setUp();
  const diagnose = async () =>
    expectTroubles(await at.diagnose([], { NODE_EXTRA_CA_CERTS: at.path("ca.pem") }), [
      [32, "fail", /X-Forwarded-For \$remote_addr/],
    ]);
  await behindProxy(at, (request, service) => passOn(request, service, {}), diagnose, variables);
});

test("a proxy that keeps streams back is named", async () => {
  const at = harness.setUp();
  const diagnose = async () =>
    expectTroubles(
      await at.diagnose(["--key-file", "shop.key"], { NODE_EXTRA_CA_CERTS: at.path("ca.pem") }),
      [[32, "fail", /proxy_buffering off/]],
    );
  const keepBack = async (request: Request, service: string) => {
    const answer = await passOn(request, service, FORWARDED);
    return new Response(await answer.arrayBuffer(), answer);
  };
  await behindProxy(at, keepBack, diagnose, { TRUSTED_PROXIES: "127.0.0.1" });
});

test("a key that opens no stream is named", async () => {
  const at = harness.setUp();
  writeFileSync(at.path("wrong.key"), createApiKey().reveal(), { mode: 0o600 });
  const diagnose = async () =>
    expectTroubles(
      await at.diagnose(["--key-file", "wrong.key"], { NODE_EXTRA_CA_CERTS: at.path("ca.pem") }),
      [[32, "warn", /valid key that may view/]],
    );
  await behindProxy(at, (request, service) => passOn(request, service, FORWARDED), diagnose, {
    TRUSTED_PROXIES: "127.0.0.1",
  });
});

test("a PUBLIC_URL where nobody answers, and one where another program does, are told apart", async () => {
  const at = harness.setUp();
  at.set({ PUBLIC_URL: NOBODY });
  expectTroubles(await at.diagnose(), [[32, "fail", /look at DNS, certificate, proxy and firewall/]]);
  using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => new Response("hello ".repeat(50_000)),
  });
  at.set({ PUBLIC_URL: server.url.origin });
  expectTroubles(await at.diagnose(), [[32, "fail", /correct PUBLIC_URL/]]);
});
