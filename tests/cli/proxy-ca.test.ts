import { afterAll, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { renewProxyCertificate } from "../../src/cli/proxy-certificates.ts";
import { UPSTREAM_HOSTS } from "../../src/upstream/addresses.ts";
import { Child, FROM_SOURCE } from "../support/child.ts";
import { runAlone } from "./cli-harness.ts";

const FILES = ["ca.key", "ca.pem", "server.key", "server.pem"];
const DAY_MS = 86_400_000;
const hasOpenssl = Bun.which("openssl") !== null;
if (!hasOpenssl) console.warn("openssl is missing: the tests of proxy-ca are skipped");
const withOpenssl = test.skipIf(!hasOpenssl);

const scratch = mkdtempSync(join(tmpdir(), "accesstoken-proxy-ca-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** A path in a folder of the test's own, where nothing is yet. */
const newPath = () => join(mkdtempSync(join(scratch, "test-")), "made");

/** A folder with a CA and a server certificate, and how to look at them. */
async function setup() {
  const folder = newPath();
  const made = await runAlone(["proxy-ca", "--out", folder]);
  expect([made.code, made.stderr]).toEqual([0, ""]);
  return {
    folder,
    made,
    path: (name: string) => join(folder, name),
    read: (name: string) => readFileSync(join(folder, name), "utf8"),
  };
}

function openssl(...args: readonly string[]): { code: number; text: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync(["openssl", ...args], { stdin: "ignore" });
  return { code: exitCode, text: `${stdout.toString()}${stderr.toString()}` };
}

/** Has the CA in `folder` sign a certificate with these extensions, as `key.pem` and `signed.pem` of the folder returned. */
function signForeign(
  folder: string,
  extensions: string,
  { subject = "/CN=foreign", ca = "ca" } = {},
): string {
  const own = mkdtempSync(join(scratch, "foreign-"));
  const path = (name: string) => join(own, name);
  writeFileSync(path("extensions"), `${extensions}\n`);
  const request = openssl(
    ...[
      "req",
      "-new",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:prime256v1",
      "-nodes",
      "-subj",
      subject,
    ],
    ...["-keyout", path("ca.key"), "-out", path("request")],
  );
  const signed = openssl(
    ...[
      "x509",
      "-req",
      "-in",
      path("request"),
      "-CA",
      join(folder, `${ca}.pem`),
      "-CAkey",
      join(folder, "ca.key"),
    ],
    ...["-set_serial", "7", "-days", "30", "-extfile", path("extensions"), "-out", path("signed.pem")],
  );
  expect([request.code, signed.code]).toEqual([0, 0]);
  return own;
}

/** What openssl says of a server certificate that the CA in `folder` signs with these extensions. */
function verifiesForeign(folder: string, extensions: string, subject?: string): string {
  const all = `extendedKeyUsage = serverAuth\n${extensions}`;
  const own = signForeign(folder, all, subject === undefined ? {} : { subject });
  return openssl(
    "verify",
    "-purpose",
    "sslserver",
    "-CAfile",
    join(folder, "ca.pem"),
    join(own, "signed.pem"),
  ).text;
}

/** Puts a CA of so many days, which may sign for these names, into the place of the one in `folder`. */
function replaceCa(folder: string, days: number): void {
  const configuration = join(folder, "test.cnf");
  writeFileSync(
    configuration,
    `[req]\ndistinguished_name = n\nprompt = no\n[n]\nCN = test\n[ca]\nbasicConstraints = critical, CA:TRUE, pathlen:0\nkeyUsage = critical, keyCertSign\nsubjectKeyIdentifier = hash\n`,
  );
  const made = openssl(
    ...["req", "-x509", "-config", configuration, "-extensions", "ca", "-days", String(days), "-nodes"],
    ...["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
    ...["-keyout", join(folder, "ca.key"), "-out", join(folder, "ca.pem")],
  );
  expect(made).toMatchObject({ code: 0 });
}

withOpenssl(
  "the CA lasts two years, the server's certificate 90 days, and only their owner reads the keys",
  async () => {
    const { folder, read, path } = await setup();
    expect(readdirSync(folder).toSorted()).toEqual(FILES);
    expect(statSync(folder).mode & 0o777).toBe(0o755);
    expect(FILES.map((name) => statSync(path(name)).mode & 0o777)).toEqual([0o600, 0o644, 0o600, 0o644]);
    const ca = new X509Certificate(read("ca.pem"));
    const server = new X509Certificate(read("server.pem"));
    const days = ({ validFrom, validTo }: X509Certificate) =>
      (Date.parse(validTo) - Date.parse(validFrom)) / DAY_MS;
    expect([days(ca), days(server)]).toEqual([730, 90]);
    expect([ca.ca, server.ca]).toEqual([true, false]);
    expect(read("server.pem")).toEndWith(read("ca.pem"));
    expect(read("server.key")).not.toBe(read("ca.key"));
  },
);

withOpenssl(
  "openssl finds the chain good for each of WeChat's and WeCom's hosts, and for no other",
  async () => {
    const { path } = await setup();
    const verify = (host: string) =>
      openssl(
        "verify",
        "-x509_strict",
        "-purpose",
        "sslserver",
        "-verify_hostname",
        host,
        "-CAfile",
        path("ca.pem"),
        path("server.pem"),
      );
    for (const host of UPSTREAM_HOSTS) expect([host, verify(host).code]).toEqual([host, 0]);
    expect(verify("api.mch.weixin.qq.com").text).toContain("hostname mismatch");
  },
);

withOpenssl(
  "the CA's constraints are critical and name the upstream hosts, no address, and no CA below",
  async () => {
    const { path } = await setup();
    const { text } = openssl("x509", "-in", path("ca.pem"), "-noout", "-text");
    expect(text).toMatch(/Basic Constraints: critical\s+CA:TRUE, pathlen:0\n/);
    expect(text).toMatch(/Key Usage: critical\s+Certificate Sign, CRL Sign\n/);
    const [, permitted = "", excluded = ""] =
      /Name Constraints: critical\s+Permitted:\n([^]*?)\s+Excluded:\n([^]*?)\n {12}X509v3/.exec(text) ?? [];
    expect(permitted.trim().split(/\s+/)).toEqual(UPSTREAM_HOSTS.map((host) => `DNS:${host}`));
    expect(excluded.trim().split(/\s+/)).toEqual([
      "IP:0.0.0.0/0.0.0.0",
      "IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0",
    ]);
    expect(openssl("x509", "-in", path("server.pem"), "-noout", "-text").text).toContain(
      "TLS Web Server Authentication",
    );
  },
);

withOpenssl("openssl refuses what this CA signs for another name, an address, or another CA", async () => {
  const { folder } = await setup();
  const refused = "permitted subtree violation";
  expect(verifiesForeign(folder, "subjectAltName = DNS:api.weixin.qq.com")).toEndWith(": OK\n");
  for (const name of [
    "example.com",
    "weixin.qq.com",
    "api.mch.weixin.qq.com",
    "xapi.weixin.qq.com",
    "*.qq.com",
  ])
    expect([name, verifiesForeign(folder, `subjectAltName = DNS:${name}`)]).toEqual([
      name,
      expect.stringContaining(refused),
    ]);
  expect(verifiesForeign(folder, "subjectAltName = DNS:api.weixin.qq.com, DNS:example.com")).toContain(
    refused,
  );
  expect(verifiesForeign(folder, "", "/CN=example.com")).toContain(refused);
  for (const address of ["127.0.0.1", "203.0.113.7", "::1"])
    expect(verifiesForeign(folder, `subjectAltName = IP:${address}`)).toContain("excluded subtree violation");
  const below = signForeign(folder, "basicConstraints = critical, CA:TRUE");
  const last = signForeign(below, "subjectAltName = DNS:api.weixin.qq.com", { ca: "signed" });
  const [ca, between, leaf] = [join(folder, "ca.pem"), join(below, "signed.pem"), join(last, "signed.pem")];
  expect(openssl("verify", "-CAfile", ca, "-untrusted", between, leaf).text).toContain(
    "path length constraint exceeded",
  );
});

withOpenssl("what is there is not overwritten without --force, which makes another CA", async () => {
  const { folder, read } = await setup();
  const before = FILES.map(read);
  const again = await runAlone(["proxy-ca", "--out", folder]);
  expect(again.code).toBe(2);
  expect(again.stderr).toContain("exists already");
  expect([FILES.map(read), readdirSync(folder).length]).toEqual([before, FILES.length]);
  expect((await runAlone(["proxy-ca", "--out", folder, "--force"])).code).toBe(0);
  for (const [n, name] of FILES.entries()) expect(read(name)).not.toBe(before[n] ?? "");
});

withOpenssl("of two that run at once in one folder one wins, and its files belong together", async () => {
  const folder = newPath();
  const codes = await Promise.all(
    [0, 1].map(async () => (await runAlone(["proxy-ca", "--out", folder])).code),
  );
  expect(codes.toSorted((a, b) => a - b)).toEqual([0, 2]);
  expect(readdirSync(folder).toSorted()).toEqual(FILES);
  const [ca, server] = ["ca.pem", "server.pem"].map((name) => join(folder, name));
  expect(openssl("verify", "-CAfile", ca!, server!).text).toEndWith(": OK\n");
});

withOpenssl("a renewal makes another server certificate of the same CA", async () => {
  const { folder, read } = await setup();
  const before = FILES.map(read);
  const renewed = await runAlone(["proxy-ca", "--out", folder, "--renew"], { language: "zh" });
  expect([renewed.code, renewed.stderr]).toEqual([0, ""]);
  expect(renewed.stdout).toContain("nginx -s reload");
  const same = FILES.map((name, n) => read(name) === before[n]);
  expect(same).toEqual([true, true, false, false]);
  expect(statSync(join(folder, "server.key")).mode & 0o777).toBe(0o600);
  expect(new X509Certificate(read("server.pem")).verify(new X509Certificate(read("ca.pem")).publicKey)).toBe(
    true,
  );
  chmodSync(join(folder, "ca.key"), 0o644);
  const warned = await runAlone(["proxy-ca", "--out", folder, "--renew"]);
  expect([warned.code, warned.stderr]).toEqual([0, expect.stringContaining("chmod 600")]);
});

withOpenssl("a server certificate does not outlive its CA, and an expired CA makes none", async () => {
  const { folder, read } = await setup();
  replaceCa(folder, 30);
  const caEnd = Date.parse(new X509Certificate(read("ca.pem")).validTo);
  const start = Date.parse(new X509Certificate(read("ca.pem")).validFrom);
  const { serverEndsAt, caEndsAt } = await renewProxyCertificate(folder, start + 2 * DAY_MS);
  expect([caEndsAt, caEndsAt - serverEndsAt > DAY_MS]).toEqual([caEnd, true]);
  for (const now of [caEnd - DAY_MS / 2, caEnd + DAY_MS])
    expect(renewProxyCertificate(folder, now)).rejects.toThrow("the CA has expired");
});

withOpenssl(
  "without a CA, or with one that is not whole, nothing is renewed and nothing is left behind",
  async () => {
    const empty = newPath();
    const missing = await runAlone(["proxy-ca", "--out", empty, "--renew"]);
    expect([missing.code, missing.stderr]).toEqual([2, expect.stringContaining("ca.key is missing")]);
    expect(readdirSync(empty)).toEqual([]);
    const { folder, read, path } = await setup();
    const before = FILES.map(read);
    writeFileSync(path("ca.key"), (await setup()).read("ca.key"));
    const failed = await runAlone(["proxy-ca", "--out", folder, "--renew"]);
    expect([failed.code, failed.stderr]).toEqual([1, expect.stringContaining("openssl x509 failed")]);
    expect([read("server.pem"), readdirSync(folder).length]).toEqual([before[3] ?? "", FILES.length]);
  },
);

withOpenssl(
  "a folder that others may change is refused, above it too, unless it has the sticky bit",
  async () => {
    const above = mkdtempSync(join(scratch, "test-"));
    const folder = join(above, "made");
    mkdirSync(folder);
    for (const mode of [0o777, 0o775, 0o1777]) {
      chmodSync(folder, mode);
      const { code, stderr } = await runAlone(["proxy-ca", "--out", folder]);
      expect([code, stderr]).toEqual([2, expect.stringContaining(`others may change ${folder}`)]);
    }
    chmodSync(folder, 0o755);
    chmodSync(above, 0o777);
    const { stderr } = await runAlone(["proxy-ca", "--out", folder]);
    expect(stderr).toContain(`others may change ${above}:`);
    expect(readdirSync(folder)).toEqual([]);
    chmodSync(above, 0o1777);
    expect((await runAlone(["proxy-ca", "--out", folder])).code).toBe(0);
  },
);

withOpenssl("a link with the name of a file is replaced, and what it leads to stays", async () => {
  const { folder, path } = await setup();
  const foreign = join(scratch, "foreign-file");
  for (const name of FILES) {
    writeFileSync(foreign, "theirs");
    rmSync(path(name));
    symlinkSync(foreign, path(name));
  }
  expect((await runAlone(["proxy-ca", "--out", folder])).code).toBe(2);
  expect((await runAlone(["proxy-ca", "--out", folder, "--force"])).code).toBe(0);
  expect(readFileSync(foreign, "utf8")).toBe("theirs");
  for (const name of FILES) expect(lstatSync(path(name)).isSymbolicLink()).toBe(false);
});

withOpenssl(
  "what a run that was killed has left is removed by a later one, and that of one that runs is not",
  async () => {
    const { folder, path } = await setup();
    for (const name of [".proxy-ca-killed", ".proxy-ca-running"]) {
      mkdirSync(path(name));
      writeFileSync(join(path(name), "ca.key"), "");
    }
    utimesSync(path(".proxy-ca-killed"), 1, 1);
    expect((await runAlone(["proxy-ca", "--out", folder, "--renew"])).code).toBe(0);
    expect(readdirSync(folder).toSorted()).toEqual([".proxy-ca-running", ...FILES]);
  },
);

withOpenssl("it says in both languages what to do next", async () => {
  for (const [language, word] of [
    ["en", "Once a month"],
    ["zh", "每月执行一次"],
  ] as const) {
    const { stdout } = await runAlone(["proxy-ca", "--out", newPath()], { language });
    for (const text of [
      word,
      "ssl_certificate_key",
      "NODE_EXTRA_CA_CERTS",
      "REQUESTS_CA_BUNDLE",
      "keytool",
      "update-ca-trust",
      "CONNECT_PORT",
      "--renew",
    ])
      expect(stdout).toContain(text);
  }
});

test("without openssl it says what to install", async () => {
  await using child = new Child([...FROM_SOURCE, "proxy-ca"], {
    cwd: scratch,
    env: { PATH: "/nonexistent" },
  });
  expect(await child.exited()).toBe(1);
  expect(child.stderr).toContain("openssl is not found: install it");
});

test("--renew keeps the CA and --force replaces it: not both", async () => {
  const { code, stderr } = await runAlone(["proxy-ca", "--out", newPath(), "--renew", "--force"]);
  expect([code, stderr]).toEqual([2, expect.stringContaining("can't be used together")]);
});

test("a folder that can't be one is a usage error that names it", async () => {
  const file = join(scratch, "file");
  writeFileSync(file, "");
  const { code, stderr } = await runAlone(["proxy-ca", "--out", file]);
  expect([code, stderr]).toEqual([
    hasOpenssl ? 2 : 1,
    expect.stringContaining(hasOpenssl ? file : "openssl"),
  ]);
});
