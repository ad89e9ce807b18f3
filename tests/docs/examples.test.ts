import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HistoryData } from "../../src/api/v1-history-schema.ts";
import { loadConfig } from "../../src/config.ts";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { startService } from "../../src/service.ts";
import type { Service } from "../../src/service/running-service.ts";
import { Child, FROM_SOURCE } from "../support/child.ts";
import { Harness } from "../support/harness.ts";
import { type CodeBlock, read } from "./document.ts";

const WX = { appId: "wx0000000000000001", secret: "00000000000000000000000000000001" };
const WECOM = {
  corpId: "ww0000000000000001",
  agent: "1000002",
  secret: "sample-wecom-secret-00000000000000000000001",
};
const ACTIONS = [
  "view",
  "token:read",
  "token:clear",
  "token:refresh",
  "ticket:read",
  "ticket:sign",
  "login",
  "api:call",
];

/** The pages whose commands are run, one after the other, with the name of the client that asks in them. */
const PAGES = [
  ["protocol", "shop-dev"],
  ["errors", "shop-dev"],
  ["drop-in", "shop-dev"],
  ["gateway", "shop-dev"],
  ["virtual-tokens", "shop-dev"],
  ["access", "example"],
  ["api", "shop-dev"],
  ["events", "shop-dev"],
  ["api-management", "shop-dev"],
  ["audit", "shop-dev"],
] as const;

/** A reader with a terminal, the service, and a client's and an administrator's keys. */
class Reader {
  readonly #folder = mkdtempSync(join(tmpdir(), "accesstoken-examples-"));
  readonly #sandbox = Sandbox.start({ weixinApps: [WX], wecomApps: [WECOM] });
  readonly #variables = {
    ENV_FILE: "",
    PORT: "0",
    DATABASE_URL: `file:${join(this.#folder, "accesstoken.db")}`,
    WEIXIN_BASE_URL: this.#sandbox.weixinUrl,
    WECOM_BASE_URL: this.#sandbox.wecomUrl,
    [`WEIXIN_SECRET_${WX.appId}`]: WX.secret,
    [`WECOM_SECRET_${WECOM.corpId}_${WECOM.agent}`]: WECOM.secret,
  };
  #service: Service | undefined;
  #exports: Record<string, string> = {};

  static async start(client: string): Promise<Reader> {
    const reader = new Reader();
    const service = await startService(loadConfig(reader.#variables));
    reader.#service = service;
    const grants = [{ apps: ["*"], actions: ACTIONS }];
    const key = await reader.#keyOf({ client, environment: "dev", grants });
    const everything = [{ apps: ["*"], actions: ["admin"] }];
    const admin = await reader.#keyOf({ client: "admin", environment: "admin", grants: everything });
    const headers = { authorization: `Bearer ${key}` };
    const answer = await fetch(`${service.url}/AccessToken/getXcx?appid=${WX.appId}`, { headers });
    const { data } = (await answer.json()) as { data: { access_token: string } };
    reader.#exports = { KEY: key, ADMIN_KEY: admin, TOKEN: data.access_token };
    return reader;
  }

  /** Runs a block as it stands, but for the address of the service; returns what each command printed. */
  async run({ text }: CodeBlock): Promise<string[]> {
    const url = this.#service?.url ?? "";
    const program = FROM_SOURCE.map((part) => `'${part}'`).join(" ");
    const functions = `accesstoken() { ${program} "$@"; }\ncurl() { command curl -sS "$@"; echo; }\n`;
    const script = functions + text.replaceAll("http://127.0.0.1:3000", url);
    const env = { ...this.#variables, ...this.#exports, LANG: "C" };
    await using shell = new Child(["bash", "-euo", "pipefail", "-c", script], { cwd: this.#folder, env });
    expect([text, await shell.exited(), shell.stderr.match(/^accesstoken: .*/gm)]).toEqual([text, 0, null]);
    return shell.stdout.split("\n").filter((line) => line !== "");
  }

  /** Resolves when what is counted and noted in the background has been written, of each kind something. */
  noted(): Promise<void> {
    return Harness.until(async () => {
      const request = new Request(`http://localhost/v1/apps/${WX.appId}/history`);
      const answer = await (await this.#service?.handle(request))?.json();
      const { data } = answer as { data: HistoryData };
      const { calls, uses } = data.series;
      return [calls, uses, data.callers, data.attempts].every(({ length }) => length > 0);
    });
  }

  async stop(): Promise<void> {
    await this.#service?.stop("test");
    await this.#sandbox.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #keyOf(body: { client: string; environment: string; grants: object[] }): Promise<string> {
    await this.#administer("/v1/clients", body);
    const { api_key: key = "" } = await this.#administer(`/v1/clients/${body.client}/keys`, {});
    return key;
  }

  async #administer(path: string, body: object): Promise<{ api_key?: string }> {
    const headers = { "content-type": "application/json" };
    const request = new Request(`http://localhost${path}`, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    });
    const answer = (await (await this.#service?.handle(request))?.json()) as { data: { api_key?: string } };
    return answer.data;
  }
}

const readers: Reader[] = [];
afterAll(() => Promise.all(readers.map((reader) => reader.stop())));

/** The command line is started again for each command. */
const PAGE_MS = 60_000;

test.each(PAGES)(
  "every command of docs/%s.md does what the page shows",
  async (page, client) => {
    const reader = await Reader.start(client);
    readers.push(reader);
    const { path, blocks } = read(`docs/${page}.md`);
    for (const [index, block] of blocks.entries()) {
      if (block.language !== "sh") continue;
      const next = blocks[index + 1];
      const shown = next?.language === "json" ? (JSON.parse(next.text) as Json) : undefined;
      if (/\/(audit\/usage|history)/.test(block.text)) await reader.noted();
      const output = await reader.run(block);
      const [last = ""] = output.slice(-1);
      if (!block.text.includes("curl ")) continue;
      for (const line of output.slice(0, -1))
        expect([line, codeOf(JSON.parse(line) as Json)]).toEqual([line, 0]);
      const answer = JSON.parse(last) as Json;
      const isEnvelope = shown !== undefined && "trace_id" in shown;
      const told = answer["trace_id"] === undefined || isEnvelope ? answer : (answer["data"] as Json);
      expect([last, codeOf(answer)]).toEqual([last, shown === undefined ? 0 : codeOf(shown)]);
      if (shown) expect([path, block.line, shapeOf(told)]).toEqual([path, block.line, shapeOf(shown)]);
    }
  },
  PAGE_MS,
);

type Json = Readonly<Record<string, unknown>>;

function codeOf({ code, errcode }: Json): unknown {
  return code ?? errcode ?? 0;
}

/** A value without what differs from run to run: texts and numbers by their type, lists by their first entry. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map((entry) => shapeOf(entry));
  if (typeof value !== "object" || value === null) return typeof value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, inner]) => [name, shapeOf(inner)]),
  );
}
