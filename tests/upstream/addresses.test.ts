import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EventBus } from "../../src/events.ts";
import { Addresses, type IpFamily } from "../../src/upstream/addresses.ts";
import { HttpClient } from "../../src/upstream/http-client.ts";
import { HttpForwarder } from "../../src/upstream/http-forwarder.ts";
import { Harness, WX } from "../support/harness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { failureOf } from "../support/refusals.ts";
import { selfSigned } from "./certificate.ts";

const NAME = "upstream.test";
const NEVER = new AbortController().signal;

/** A name with an address of each family, behind which another server answers; one port for both. */
function setup(family: IpFamily) {
  const seen: string[] = [];
  const serve = (hostname: string, port: number) =>
    Bun.serve({
      hostname,
      port,
      fetch: (request) => {
        seen.push(`${hostname} ${request.headers.get("host")}`);
        return Response.json({ errcode: 0 });
      },
    });
  const v4 = serve("127.0.0.1", 0);
  const v6 = serve("::1", Number(v4.port));
  const looked: [string, IpFamily][] = [];
  let found: Record<IpFamily, string[]> = { 4: ["127.0.0.1"], 6: ["::1"] };
  const addresses = new Addresses(family, async (name, of) => {
    looked.push([name, of]);
    return found[of];
  });
  const origin = `http://${NAME}:${v4.port}`;
  const baseUrls = { weixin: origin, wecom: origin };
  const http = new HttpClient({
    ...{ baseUrls, proxyUrl: undefined, addresses, clock: new ManualClock(), events: new EventBus() },
    calls: { count: () => undefined },
  });
  const forwarder = new HttpForwarder({ baseUrls, proxyUrl: undefined, addresses });
  const platform = "weixin";
  const call = (signal = NEVER) =>
    http.call({ platform, appId: "wx1", path: "/a", takes: "takes_token", repeatable: true, signal });
  const forward = () => {
    const up = { platform, appId: "wx1", method: "GET", path: "/b", query: "c=d", body: undefined } as const;
    return forwarder.forward({ ...up, headers: new Headers({ host: "caller.test" }), signal: NEVER });
  };
  return {
    ...{ addresses, origin, port: v4.port, call, forward, seen, looked },
    find: (next: typeof found) => void (found = next),
    [Symbol.asyncDispose]: async () => void (await Promise.all([v4.stop(true), v6.stop(true)])),
  };
}

test.each([
  [4, "127.0.0.1"],
  [6, "::1"],
] as const)("with IP family %i requests of both kinds go to %s, under the name", async (family, address) => {
  await using it = setup(family);
  await it.call();
  await it.forward();
  expect(it.seen).toEqual(Array.from({ length: 2 }, () => `${address} ${NAME}:${it.port}`));
  // Both within the 30 s for which it is known.
  expect(it.looked).toEqual([[NAME, family]]);
});

test("the certificate that is expected is the name's, not the address's, and a CA of one's own is trusted", async () => {
  const tls = selfSigned(NAME);
  using server = Bun.serve({ hostname: "127.0.0.1", port: 0, tls, fetch: () => new Response("ok") });
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-test-"));
  using cleanup = new DisposableStack();
  cleanup.defer(() => rmSync(folder, { recursive: true }));
  const ca = join(folder, "ca.pem");
  writeFileSync(ca, tls.cert);
  const module = JSON.stringify(join(import.meta.dir, "../../src/upstream/addresses.ts"));
  const program = `
    const { Addresses } = await import(${module});
    const addresses = new Addresses(4, async () => ["127.0.0.1"]);
    for (const name of ["${NAME}", "other.test"]) {
      const signal = new AbortController().signal;
      const { origin, host, tls } = await addresses.of("https://" + name + ":${server.port}", signal);
      const sessions = [undefined, new Bun.FetchSession({ proxy: false })];
      for (const session of sessions) {
        const answer = fetch(origin, { headers: { host }, tls, session, proxy: session ? undefined : false });
        console.log(name, await answer.then((response) => response.text(), (error) => error.code));
      }
    }`;
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: ca };
  const child = Bun.spawn([process.execPath, "-e", program], { env, stdout: "pipe" });
  expect((await child.stdout.text()).trim().split("\n")).toEqual([
    ...[`${NAME} ok`, `${NAME} ok`],
    ...Array.from({ length: 2 }, () => "other.test ERR_TLS_CERT_ALTNAME_INVALID"),
  ]);
});

test("a name without an address of the family, or one that is looked up for too long, is told as unreachable", async () => {
  await using it = setup(6);
  it.find({ 4: ["127.0.0.1"], 6: [] });
  for (const failure of [await failureOf(it.call()), await failureOf(it.forward())]) {
    expect(failure).toMatchObject({ code: "upstream_unreachable", mayHaveRun: false });
    expect(failure.message).toContain("ENOTFOUND");
  }
  const slow = new Addresses(4, () => new Promise(() => undefined));
  const lookUp = slow.of(it.origin, AbortSignal.timeout(1)).catch((error: unknown) => error);
  expect(await lookUp).toMatchObject({ code: "ENOTFOUND" });
  expect(it.seen).toEqual([]);
});

test("an address that does not answer is looked up again, and one in the URL is used as it is", async () => {
  await using it = setup(4);
  it.find({ 4: ["127.0.0.9"], 6: [] });
  expect((await failureOf(it.call())).code).toBe("upstream_unreachable");
  it.find({ 4: ["127.0.0.1"], 6: [] });
  await it.call();
  expect(it.looked).toHaveLength(2);
  const literal = `http://[::1]:${it.port}`;
  expect(await it.addresses.of(literal, NEVER)).toEqual({ origin: literal });
  expect(it.looked).toHaveLength(2);
});

test("names are looked up as the system does", async () => {
  const { origin } = await new Addresses(4).of("https://localhost:8443", NEVER);
  expect(origin).toBe("https://127.0.0.1:8443");
});

test("UPSTREAM_IP_FAMILY is for tokens and for the gateway", async () => {
  await using world = await Harness.create();
  const WEIXIN_BASE_URL = world.sandbox.weixinUrl.replace("127.0.0.1", "localhost");
  const query = { appid: WX.appId, secret: WX.secret };
  await world.stop();
  await world.start({ WEIXIN_BASE_URL, UPSTREAM_IP_FAMILY: "4" });
  const token = String((await world.get("/AccessToken/getXcx", query)).data["access_token"]);
  const call = async () => {
    const answer = await fetch(`${world.service.url}/cgi-bin/getcallbackip?access_token=${token}`);
    return answer.json();
  };
  expect(await call()).toMatchObject({ ip_list: expect.any(Array) });
  await world.stop();
  // The sandbox listens on IPv4 alone.
  await world.start({ WEIXIN_BASE_URL, UPSTREAM_IP_FAMILY: "6" });
  expect(await call()).toMatchObject({ errcode: -1 });
  await world.get("/AccessToken/clearXcx", query);
  expect((await world.get("/AccessToken/getXcx", query)).code).toBe(502);
});
