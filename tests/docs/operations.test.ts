import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../bench/bench-server.ts";
import { Child } from "../support/child.ts";
import { Harness, WX } from "../support/harness.ts";
import { findNginx, startNginx } from "../support/nginx.ts";
import { codeOf as spansOf, read, ROOT, type Table } from "./document.ts";

const MONITORING = read("docs/monitoring.md");
const RUNBOOK = read("docs/troubleshooting.md").headings.flatMap(({ level, text }) =>
  level === 3 ? [text] : [],
);
const FORMER_NAMES = ["accesstoken_refusals_total", "accesstoken_died_early_tokens_total"];

function tableOf(tables: readonly Table[], firstHeading: string): Table {
  return tables.find(([heading]) => heading?.[0] === firstHeading) ?? [];
}

function block(path: string, language: string, content = ""): string {
  const found = read(path).blocks.find(
    ({ language: own, text }) => own === language && text.includes(content),
  );
  return found?.text ?? "";
}

test("each alert that is offered has a section on what to do, and the other way round", () => {
  const alerts = [...block(MONITORING.path, "yaml", "groups:").matchAll(/alert: (\w+)/g)].map(
    ([, name]) => name,
  );
  expect(alerts.length).toBeGreaterThan(5);
  expect(RUNBOOK.filter((text) => text.startsWith("AccessToken"))).toEqual(alerts as string[]);
});

test("each event that the log has as a warning or an error has a section, and the other way round", () => {
  const source = readFileSync(join(ROOT, "src/log.ts"), "utf8");
  const events = [...source.matchAll(/"([a-z_.]+)": \{\s*level: "(?:warn|error)"/g)].map(
    ([, name = ""]) => name,
  );
  expect(events.length).toBeGreaterThan(10);
  expect(RUNBOOK.filter((text) => /^[a-z_]+\.[a-z_]+$/.test(text))).toEqual(events.toSorted());
});

test("the metrics that are described are those of the service, and alerts ask for no others", async () => {
  await using world = await Harness.create();
  const text = await (await fetch(`${world.service.url}/metrics`)).text();
  const served = [...text.matchAll(/^# HELP (\w+)/gm)].map(([, name = ""]) => name);
  const described = tableOf(MONITORING.tables, "metric")
    .slice(1)
    .flatMap(([cell = ""]) => spansOf(cell));
  expect([...described, ...FORMER_NAMES].toSorted()).toEqual(served.toSorted());
  const asked = block(MONITORING.path, "yaml", "groups:").match(/accesstoken_\w+/g) ?? [];
  expect(asked.filter((name) => !described.includes(name))).toEqual([]);
});

test("the faults that are described are those of the sandbox", async () => {
  await using world = await Harness.create();
  const response = await fetch(`${world.sandbox.weixinUrl}/sandbox/faults`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  const { error } = (await response.json()) as { error: string };
  const kinds = error.replace("kind must be one of ", "").split(", ");
  const [, ...rows] = tableOf(read("docs/sandbox.md").tables, "`kind`");
  expect(rows.flatMap(([cell = ""]) => spansOf(cell)).toSorted()).toEqual(kinds.toSorted());
});

test("the page to copy is given what wx.config takes", async () => {
  await using world = await Harness.create();
  const [, script = ""] = /<script>([^]*)<\/script>/.exec(block("docs/invalid-signature.md", "html")) ?? [];
  const configured = Promise.withResolvers<Record<string, unknown>>();
  const wx = { ready: () => {}, error: () => {}, config: configured.resolve };
  const location = { href: "https://shop.example.com/cart?id=1#pay" };
  const own = script
    .replace("https://token.example.com", world.service.url)
    .replace("wx0123456789abcdef", WX.appId)
    .replace(/, "X-API-Key": KEY/, "");
  // oxlint-disable-next-line typescript/no-implied-eval -- as a browser runs it
  new Function("wx", "location", "alert", own)(wx, location, configured.reject);
  expect(await configured.promise).toMatchObject({
    appId: WX.appId,
    timestamp: expect.any(Number),
    nonceStr: expect.stringMatching(/^\w+$/),
    signature: expect.stringMatching(/^[0-9a-f]{40}$/),
  });
});

test("the health check of the image succeeds while the service answers, and else fails", async () => {
  await using world = await Harness.create();
  const [, json = "[]"] = /HEALTHCHECK .*CMD (\[.*\])/.exec(block("docs/containers.md", "dockerfile")) ?? [];
  const check = async () => {
    const command = (JSON.parse(json) as string[]).map((word) => word.replace("/3000", `/${port}`));
    await using child = new Child(command, { cwd: world.folder });
    return await child.exited();
  };
  const { port } = new URL(world.service.url);
  expect(await check()).toBe(0);
  await world.stop();
  expect(await check()).not.toBe(0);
});

const nginx = findNginx();

test.skipIf(nginx === undefined)(
  "nginx as it is described says who is calling, and logs no query",
  async () => {
    await using world = await Harness.create({
      environment: { TRUSTED_PROXIES: "127.0.0.1/32", ALLOWED_HOSTS: "token.example.com" },
    });
    const port = freePort();
    const http = block("docs/deployment.md", "nginx")
      .replace("listen 443 ssl", `listen 127.0.0.1:${port}`)
      .replaceAll(/ssl_certificate.*/g, "")
      .replaceAll("/var/log/nginx/", `${world.folder}/`)
      .replace("http://127.0.0.1:3000", world.service.url.replace("localhost", "127.0.0.1"));
    await using _ = await startNginx(nginx ?? "", { http, port, folder: world.folder });
    const path = `/AccessToken/getXcx?appid=${WX.appId}&secret=${WX.secret}`;
    const pretending = { host: "token.example.com", "x-forwarded-for": "203.0.113.9" };
    const codeOf = async (url: string) => {
      const response = await fetch(url, { headers: pretending });
      return ((await response.json()) as { code: number }).code;
    };
    expect(await codeOf(`http://127.0.0.1:${port}${path}`)).toBe(0);
    // Without a secret the address counts: nginx names the true one, and past nginx it is the one that was sent.
    const anonymous = path.replace(/&.*/, "");
    expect(await codeOf(`http://127.0.0.1:${port}${anonymous}`)).toBe(0);
    expect(await codeOf(world.service.url + anonymous)).toBe(403);
    const log = readFileSync(join(world.folder, "accesstoken.log"), "utf8");
    expect(log).toContain("GET /AccessToken/getXcx 200");
    expect(log).not.toContain(WX.secret);
  },
);
