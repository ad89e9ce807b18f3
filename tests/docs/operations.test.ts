import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ERROR_CLASSES } from "../../src/ops/upstream-metrics.ts";
import { classifyErrcode } from "../../src/upstream/errcodes.ts";
import { freePort } from "../bench/bench-server.ts";
import { createAdmin } from "../support/access-harness.ts";
import { Harness, WX } from "../support/harness.ts";
import { findNginx, startNginx } from "../support/nginx.ts";
import { rawRequest } from "../support/raw-http.ts";
import { DEPLOY, readRules } from "../deploy/promtool.ts";
import { anchorsOf, codeOf as spansOf, read, ROOT, type Table } from "./document.ts";

const EVENTS = read("docs/troubleshooting.md").headings.flatMap(({ level, text }) =>
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

const LANGUAGES = [
  { folder: "docs", alerts: "Alerts", classes: "Classes of errcodes", over: "Over: " },
  { folder: "docs/zh", alerts: "告警", classes: "errcode 的类别", over: "恢复：" },
] as const;

/** The sections of one part of a page: their titles, and their texts. */
function sectionsOf(path: string, part: string): ReadonlyMap<string, string> {
  const [, after = ""] = read(path).lines.join("\n").split(`\n## ${part}\n`);
  const [own = ""] = after.split("\n## ");
  const [, ...sections] = own.split("\n### ");
  return new Map(sections.map((each) => [each.split("\n", 1)[0] ?? "", each]));
}

test.each(LANGUAGES)(
  "each alert has a row, a section and an anchor, and the other way round: $folder",
  async ({ folder, alerts, over }) => {
    const rules = await readRules();
    const names = rules.map(({ alert }) => alert);
    expect(names.length).toBeGreaterThan(15);
    const sections = sectionsOf(`${folder}/runbook.md`, alerts);
    expect([...sections.keys()]).toEqual(names);
    for (const section of sections.values()) expect(section).toContain(`\n${over}`);
    const anchors = anchorsOf(read(`${folder}/runbook.md`));
    for (const { annotations } of rules)
      expect(anchors).toContain(annotations["runbook_url"]?.split("#")[1] ?? "");
    const { tables } = read(`${folder}/monitoring.md`);
    const [, ...rows] = tableOf(tables, folder === "docs" ? "alert" : "告警");
    expect(rows.map(([name, severity]) => [name, severity])).toEqual(
      rules.map(({ alert, labels }) => [`[${alert}](runbook.md#${alert.toLowerCase()})`, labels["severity"]]),
    );
  },
);

test.each(LANGUAGES)(
  "each class of errcodes has a section that names errcodes of it, and the other way round: $folder",
  ({ folder, classes, over }) => {
    const sections = sectionsOf(`${folder}/runbook.md`, classes);
    expect([...sections.keys()].toSorted()).toEqual(ERROR_CLASSES.toSorted());
    for (const [name, section] of sections) {
      expect(section).toContain(`\n${over}`);
      const [, first = ""] = section.split("\n\n");
      for (const [number] of name === "input"
        ? []
        : first.matchAll(/(?<!\d)-1(?!\d)|(?<!\d)\d{5,6}(?!\d)/g)) {
        const found = (["weixin", "wecom"] as const).flatMap((platform) =>
          (["takes_secret", "takes_token"] as const).map((endpoint) =>
            classifyErrcode(platform, Number(number), endpoint),
          ),
        );
        expect([name, number, found]).toEqual([name, number, expect.arrayContaining([name])]);
      }
    }
  },
);

test("each event that the log has as a warning or an error has a section, and the other way round", () => {
  const source = readFileSync(join(ROOT, "src/log.ts"), "utf8");
  const events = [...source.matchAll(/"([a-z_.]+)": \{\s*level: "(?:warn|error)"/g)].map(
    ([, name = ""]) => name,
  );
  expect(events.length).toBeGreaterThan(10);
  expect(EVENTS.filter((text) => /^[a-z_]+\.[a-z_]+$/.test(text))).toEqual(events.toSorted());
});

test("the metrics that are described are those of the service, and alerts and the dashboard ask for no others", async () => {
  await using world = await Harness.create();
  const text = await (await fetch(`${world.service.url}/metrics`)).text();
  const served = [...text.matchAll(/^# HELP (\w+)/gm)].map(([, name = ""]) => name);
  for (const { folder } of LANGUAGES) {
    const [, ...rows] = tableOf(
      read(`${folder}/monitoring.md`).tables,
      folder === "docs" ? "metric" : "指标",
    );
    const described = rows.flatMap(([cell = ""]) => spansOf(cell));
    expect([...described, ...FORMER_NAMES].toSorted()).toEqual(served.toSorted());
  }
  for (const file of ["prometheus/accesstoken.rules.yml", "grafana/accesstoken.json"]) {
    const asked = readFileSync(join(DEPLOY, file), "utf8").match(/accesstoken_[a-z_]+[a-z]/g) ?? [];
    const names = new Set(asked.map((name) => name.replace(/_(bucket|sum|count)$/, "")));
    expect(names.size).toBeGreaterThan(10);
    expect([...names].filter((name) => !served.includes(name))).toEqual([]);
  }
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
  const [, script = ""] = /<script>([^]*)<\/script>/.exec(block("docs/signature-debugging.md", "html")) ?? [];
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

test.skipIf(nginx === undefined)(
  "with every Host line that is recommended for nginx, a URL in the request line opens nothing under the public host",
  async () => {
    await using world = await Harness.create({ environment: { PUBLIC_URL: "https://token.example.com" } });
    const headers = ["Host: localhost", `Authorization: Bearer ${await createAdmin(world)}`];
    const text = readFileSync(join(ROOT, "docs/deployment.md"), "utf8");
    const [, elsewhere = ""] = /On another port [^`]*`(Host [^`]+)`/.exec(text) ?? [];
    for (const line of ["Host $host", elsewhere]) {
      expect(line).toStartWith("Host $");
      const port = freePort();
      const http = `server {
        listen 127.0.0.1:${port};
        server_name token.example.com;
        location / {
          proxy_pass ${world.service.url.replace("localhost", "127.0.0.1")};
          proxy_set_header ${line};
        }
      }`;
      await using _ = await startNginx(nginx ?? "", { http, port, folder: world.folder });
      const head = ["GET http://token.example.com/v1/apps HTTP/1.1", ...headers, "Connection: close"];
      const { status } = await rawRequest(`http://127.0.0.1:${port}`, `${head.join("\r\n")}\r\n\r\n`);
      expect([line, status]).toEqual([line, 404]);
    }
  },
);
