import { expect, test } from "bun:test";
import { OriginPolicy } from "../../src/access/origin.ts";
import { Networks } from "../../src/access/networks.ts";

const PROXY = "10.9.9.9";

interface Policy {
  readonly networks?: string;
  readonly proxies?: string;
  readonly hosts?: readonly string[];
}

function setup({ networks = "127.0.0.0/8,::1/128", proxies = "", hosts = [] }: Policy = {}) {
  const policy = new OriginPolicy({
    trustedNetworks: new Networks(networks),
    trustedProxies: new Networks(proxies),
    allowedHosts: hosts,
  });
  const identify = (peer: string, headers: Record<string, string> = {}) =>
    policy.originOf(peer, new Headers({ host: "localhost:3000", ...headers }));
  return {
    identify,
    isTrusted: (peer: string, headers?: Record<string, string>) =>
      identify(peer, headers).untrustedReason === undefined,
  };
}

test("loopback is answered in each of its forms, everybody else is not", () => {
  const { isTrusted } = setup();
  for (const peer of ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
    expect(isTrusted(peer), peer).toBeTrue();
  for (const peer of ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "", "unix"])
    expect(isTrusted(peer), peer).toBeFalse();
});

test("a trusted network replaces loopback", () => {
  const { isTrusted } = setup({ networks: "192.0.2.0/24" });
  expect(isTrusted("192.0.2.7")).toBeTrue();
  expect(isTrusted("127.0.0.1")).toBeFalse();
});

test("a forwarding header from a peer that is no known proxy is a disguise", () => {
  const { identify, isTrusted } = setup();
  const names = [
    "X-Forwarded-For",
    "X-Forwarded",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
  ];
  const others = ["X-Forwarded-Server", "Forwarded", "Via", "X-Real-IP", "X-Client-IP", "True-Client-IP"];
  for (const name of [...names, ...others, "CF-Connecting-IP"])
    expect(isTrusted("127.0.0.1", { [name]: "127.0.0.1" }), name).toBeFalse();
  expect(identify("127.0.0.1", { "x-forwarded-for": "192.0.2.9" }).address).toBe("127.0.0.1");
});

test("behind a known proxy the caller is the rightmost address that is no proxy", () => {
  const { identify } = setup({ networks: "192.0.2.0/24", proxies: `${PROXY},10.8.0.0/16` });
  const cases: [forwarded: string, address: string, trusted: boolean][] = [
    ["192.0.2.1", "192.0.2.1", true],
    ["198.51.100.1", "198.51.100.1", false],
    ["192.0.2.1, 198.51.100.1", "198.51.100.1", false],
    ["198.51.100.1, 192.0.2.1", "192.0.2.1", true],
    ["192.0.2.1, 10.8.1.1, 10.9.9.9", "192.0.2.1", true],
    ["198.51.100.1,192.0.2.1,10.8.1.1", "192.0.2.1", true],
    ["::ffff:192.0.2.1", "192.0.2.1", true],
    ["10.8.1.1, 10.8.1.2", "10.8.1.1", false],
    ["192.0.2.1:51008", "192.0.2.1", true],
    ["198.51.100.1, 192.0.2.1:51008, 10.8.1.1:443", "192.0.2.1", true],
    ["[::ffff:192.0.2.1]:443", "192.0.2.1", true],
    ["[2001:db8::1]:443", "2001:db8::1", false],
    ["[2001:db8::1]", "2001:db8::1", false],
    // A zone is another machine's affair.
    ["fe80::1%eth0", "fe80::1", false],
    ["[fe80::1%eth0]:443", "fe80::1", false],
  ];
  for (const [forwarded, address, trusted] of cases) {
    const caller = identify(PROXY, { "x-forwarded-for": forwarded });
    expect(caller.address, forwarded).toBe(address);
    expect(caller.untrustedReason === undefined, forwarded).toBe(trusted);
  }
});

test("a known proxy that does not say for whom it asks is not trusted, although its own address is", () => {
  const { isTrusted } = setup({ proxies: "127.0.0.1" });
  expect(isTrusted("127.0.0.1")).toBeFalse();
  for (const forwarded of ["", "unknown", "127.0.0.1, garbage", "127.0.0.1:x", "[127.0.0.1", "_hidden"])
    expect(isTrusted("127.0.0.1", { "x-forwarded-for": forwarded }), forwarded).toBeFalse();
  expect(isTrusted("127.0.0.1", { "x-real-ip": "127.0.0.2" })).toBeFalse();
  expect(isTrusted("127.0.0.1", { "x-forwarded-for": "127.0.0.2" })).toBeTrue();
});

test("a foreign page's script in a browser on this machine is not answered", () => {
  const { isTrusted } = setup();
  for (const site of ["cross-site", "same-site"])
    expect(isTrusted("127.0.0.1", { "sec-fetch-site": site }), site).toBeFalse();
  for (const site of ["same-origin", "none"])
    expect(isTrusted("127.0.0.1", { "sec-fetch-site": site }), site).toBeTrue();
});

test("a Host that is a name must be localhost or listed; an address may always be", () => {
  const { isTrusted } = setup({ hosts: ["tokens.example.com"] });
  for (const host of [
    "localhost",
    "LOCALHOST:80",
    "127.0.0.1:3000",
    "[::1]:3000",
    "192.0.2.1",
    "Tokens.Example.COM:443",
  ])
    expect(isTrusted("127.0.0.1", { host }), host).toBeTrue();
  for (const host of [
    "evil.example",
    "tokens.example.com.evil.example",
    "localhost.evil.example",
    "example.com",
    "127.1",
    "x",
  ])
    expect(isTrusted("127.0.0.1", { host }), host).toBeFalse();
});

test("who proves himself needs no clean route: only a header about the address disguises it", () => {
  const { identify } = setup({ proxies: PROXY });
  const headers = { "x-forwarded-proto": "https", "x-forwarded-host": "a", "x-forwarded-port": "443" };
  expect(identify("127.0.0.1", headers)).toMatchObject({ address: "127.0.0.1", disguise: undefined });
  expect(identify("127.0.0.1", headers).untrustedReason).toContain("x-forwarded-host");
  for (const header of ["x-forwarded-for", "forwarded", "via", "x-real-ip"])
    expect(identify("127.0.0.1", { [header]: "192.0.2.1" }).disguise).toContain("TRUSTED_PROXIES");
  expect(identify(PROXY).disguise).toContain("X-Forwarded-For");
  expect(identify("127.0.0.1", { host: "evil.example", origin: "null" }).disguise).toBeUndefined();
});

test("a name with a dot at its end is the same name", () => {
  const { isTrusted } = setup({ hosts: ["token_service", "token.default.svc.cluster.local"] });
  for (const host of [
    "token_service",
    "Token_Service:3000",
    "token.default.svc.cluster.local.",
    "localhost.",
  ])
    expect(isTrusted("127.0.0.1", { host }), host).toBeTrue();
  for (const host of ["token.default.svc.cluster.local..", "evil.example.", "token_service.evil.example."])
    expect(isTrusted("127.0.0.1", { host }), host).toBeFalse();
});

test("a refusal names the address that it saw and the variable that would allow it", () => {
  const { identify } = setup({ proxies: PROXY });
  expect(identify("::ffff:192.0.2.1").untrustedReason).toMatch(/ 192\.0\.2\.1 .*TRUSTED_NETWORKS/);
  expect(identify(PROXY, { "x-forwarded-for": "192.0.2.7" }).untrustedReason).toMatch(/ 192\.0\.2\.7 /);
  expect(identify("192.0.2.1", { via: "x" }).untrustedReason).toMatch(/via.* 192\.0\.2\.1 .*TRUSTED_PROXIES/);
  expect(identify(PROXY, {}).untrustedReason).toContain(`the proxy ${PROXY} of TRUSTED_PROXIES`);
});

test("a refusal says what is wrong and never repeats what was sent", () => {
  const { identify } = setup();
  expect(identify("192.0.2.1").untrustedReason).toContain("TRUSTED_NETWORKS");
  expect(identify("127.0.0.1", { host: "canary.example" }).untrustedReason).toContain("ALLOWED_HOSTS");
  expect(identify("127.0.0.1", { host: "canary.example" }).untrustedReason).not.toContain("canary");
  expect(identify("127.0.0.1", { "x-forwarded-for": "canary" }).untrustedReason).toContain("TRUSTED_PROXIES");
});

test("a page of another origin is not answered, and a page of this very service is", () => {
  const { isTrusted } = setup();
  const host = "localhost:3000";
  for (const origin of ["http://evil.example", "null", "http://localhost:3001", "garbage"])
    expect(isTrusted("127.0.0.1", { host, origin }), origin).toBeFalse();
  expect(isTrusted("127.0.0.1", { host, origin: "http://localhost:3000" })).toBeTrue();
});
