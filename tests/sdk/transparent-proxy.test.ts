import { afterAll, expect, test } from "bun:test";
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeProxyCertificates } from "../../src/cli/proxy-certificates.ts";
import { UPSTREAM_HOSTS } from "../../src/upstream/addresses.ts";
import { freePort } from "../bench/bench-server.ts";
import { read, ROOT } from "../docs/document.ts";
import { createClient } from "../support/access-harness.ts";
import { Child } from "../support/child.ts";
import { CORP, Harness, WECOM, WX } from "../support/harness.ts";
import { findNginx, startNginx } from "../support/nginx.ts";

const DOCUMENT = read("docs/transparent-proxy.md");
const APP = "wx0123456789abcdef";

const tools = {
  nginx: findNginx(),
  openssl: Bun.which("openssl"),
  curl: Bun.which("curl"),
  node: Bun.which("node"),
};
const missing = Object.entries(tools).flatMap(([name, path]) => (path ? [] : [name]));
if (missing.length > 0)
  console.warn(`${missing.join(", ")} missing: the recipes of the transparent proxy are skipped`);
const recipe = test.skipIf(missing.length > 0);

function block(language: string, text: string): string {
  const found = DOCUMENT.blocks.find((each) => each.language === language && each.text.includes(text));
  if (!found) throw new Error(`no block of ${language} has ${text}`);
  return found.text;
}

const front = missing.length === 0 ? await openFront() : undefined;
afterAll(() => front?.close());

/** The document's nginx, with the files and the port of a test, in front of a service; and how programs are led to it. */
async function openFront() {
  const world = await Harness.create({
    environment: { TRUSTED_PROXIES: "127.0.0.1/32", TRUSTED_NETWORKS: "10.0.0.0/8" },
  });
  const { folder } = world;
  await makeProxyCertificates(join(folder, "proxy-ca"), false);
  const port = freePort();
  const http = block("nginx", "server_name")
    .replace("listen 443 ssl", `listen 127.0.0.1:${port} ssl`)
    .replaceAll("/etc/accesstoken/proxy-ca", join(folder, "proxy-ca"))
    .replaceAll("/var/log/nginx", folder)
    .replace("http://127.0.0.1:3000", world.service.url);
  const nginx = await startNginx(tools.nginx ?? "", { http, port, folder });
  // In the place of a hosts entry, which the test may not make.
  writeFileSync(join(folder, ".curlrc"), `connect-to = "::127.0.0.1:${port}"\n`);
  writeFileSync(
    join(folder, "hosts.cjs"),
    `const net = require("node:net");
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  const options = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (${JSON.stringify(UPSTREAM_HOSTS)}.includes(options.host) && Number(options.port) === 443)
    Object.assign(options, { host: "127.0.0.1", port: ${port} });
  return connect.apply(this, args);
};\n`,
  );
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  symlinkSync(join(folder, "proxy-ca/ca.pem"), join(folder, "ca.pem"));
  const close = async () => {
    await nginx[Symbol.asyncDispose]();
    await world[Symbol.asyncDispose]();
  };
  let clients = 0;
  const newKey = (networks?: readonly string[]) =>
    createClient(world, {
      name: `sdk-${++clients}`,
      grants: [{ apps: ["*"], actions: ["token:read", "ticket:read", "ticket:sign", "login", "api:call"] }],
      delivery: "virtual",
      ...(networks && { networks }),
    });
  return { world, folder, newKey, close };
}

/** Runs a program in the front's folder, and gives what it printed. */
async function run(command: readonly string[], env: Record<string, string> = {}) {
  if (!front) throw new Error("there is no nginx");
  await using child = new Child(command, { cwd: front.folder, env: { HOME: front.folder, ...env } });
  const code = await child.exited();
  return { code, stdout: child.stdout, stderr: child.stderr };
}

/** Runs a program for Node that was written for WeChat's own hosts. */
async function runNode(program: string, env: Record<string, string> = {}) {
  writeFileSync(join(front?.folder ?? "", "program.mjs"), program);
  const options = { NODE_OPTIONS: "--require ./hosts.cjs", NODE_NO_WARNINGS: "1" };
  return run([tools.node ?? "", "program.mjs"], { ...options, ...env });
}

const TRUSTED = { NODE_EXTRA_CA_CERTS: "ca.pem" };

recipe("the document's curl line gets a token by the host of WeChat, with a key for the secret", async () => {
  const { newKey } = front!;
  const line = block("sh", "curl --cacert ca.pem").replace(APP, WX.appId);
  const { code, stdout } = await run(["sh", "-c", line], { KEY: await newKey() });
  expect([code, JSON.parse(stdout)]).toEqual([
    0,
    { access_token: expect.stringMatching(/^atv1_/), expires_in: 7200 },
  ]);
});

recipe("a program that nobody has touched, the app's own secret included, works through it", async () => {
  const get = (path: string) => run(["curl", "-sS", "--cacert", "ca.pem", path]);
  const weixin = await get(
    `https://api.weixin.qq.com/cgi-bin/token?grant_type=client_credential&appid=${WX.appId}&secret=${WX.secret}`,
  );
  expect(JSON.parse(weixin.stdout)).toMatchObject({ access_token: expect.stringMatching(/^60_/) });
  const wecom = await get(
    `https://qyapi.weixin.qq.com/cgi-bin/gettoken?corpid=${CORP}&corpsecret=${WECOM.secret}`,
  );
  expect(JSON.parse(wecom.stdout)).toMatchObject({ errcode: 0, access_token: expect.any(String) });
});

recipe("co-wechat-api runs in Node with its host as it is, token, call and signature", async () => {
  const { newKey } = front!;
  const program = `import Api from "co-wechat-api";
const api = new Api("${WX.appId}", "${await newKey()}");
console.log(JSON.stringify(await api.getIp()));
console.log(JSON.stringify(await api.getJsConfig({ url: "https://shop.example.com/", jsApiList: [] })));
`;
  const { code, stdout, stderr } = await runNode(program, TRUSTED);
  expect([code, stderr]).toEqual([0, ""]);
  const [call = "", page = ""] = stdout.split("\n");
  expect(JSON.parse(call)).toMatchObject({ ip_list: expect.any(Array) });
  expect(JSON.parse(page)).toMatchObject({
    appId: WX.appId,
    signature: expect.stringMatching(/^[0-9a-f]{40}$/),
  });
});

recipe(
  "Node's fetch takes the CA from NODE_EXTRA_CA_CERTS, and refuses the certificate without it",
  async () => {
    const { newKey } = front!;
    const url = `https://qyapi.weixin.qq.com/cgi-bin/gettoken?corpid=${CORP}&agentid=${WECOM.agent}&corpsecret=${await newKey()}`;
    const program = `console.log((await (await fetch("${url}")).json()).errmsg);`;
    expect(await runNode(program, TRUSTED)).toMatchObject({ code: 0, stdout: "ok\n" });
    const refused = await runNode(program);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("SELF_SIGNED_CERT_IN_CHAIN")]);
  },
);

recipe(
  "a caller can't name another address than its own, and is told nothing without a key or a secret",
  async () => {
    const { newKey } = front!;
    const key = await newKey(["10.0.0.0/8"]);
    const get = async (query: string) => {
      const url = `https://api.weixin.qq.com/cgi-bin/token?grant_type=client_credential&appid=${WX.appId}${query}`;
      const forged = ["-H", "X-Forwarded-For: 10.0.0.7"];
      const { stdout } = await run(["curl", "-sS", "--cacert", "ca.pem", ...forged, url]);
      return JSON.parse(stdout) as { errcode?: number; errmsg?: string };
    };
    expect(await get(`&secret=${key}`)).toMatchObject({ errcode: expect.any(Number) });
    expect(await get("")).toMatchObject({ errcode: 41004 });
  },
);

recipe("no log of nginx has a secret, a key or a token", async () => {
  const { folder, newKey } = front!;
  const key = await newKey();
  const line = block("sh", "curl --cacert ca.pem").replace(APP, WX.appId);
  const { stdout } = await run(["sh", "-c", line], { KEY: key });
  const token = (JSON.parse(stdout) as { access_token: string }).access_token;
  const logs = ["accesstoken-proxy.log", "accesstoken-proxy-error.log"].map((name) =>
    readFileSync(join(folder, name), "utf8"),
  );
  expect(logs.join("")).toContain("api.weixin.qq.com /cgi-bin/token 200");
  for (const secret of [key, token, WX.secret]) expect(logs.join("")).not.toContain(secret);
});

test("both documents lead every host of the certificate to the service", () => {
  for (const { blocks, path } of [DOCUMENT, read("docs/zh/transparent-proxy.md")]) {
    const hostsIn = (text: string) => text.match(/[a-z0-9.]+\.weixin\.qq\.com/g)?.toSorted();
    const [, names = ""] =
      /server_name ([^;]*);/.exec(blocks.find(({ language }) => language === "nginx")?.text ?? "") ?? [];
    const entries = blocks.find(({ text }) => text.startsWith("10.0.0.5 "))?.text ?? "";
    for (const text of [names, entries])
      expect([path, hostsIn(text)]).toEqual([path, [...UPSTREAM_HOSTS].toSorted()]);
  }
});
