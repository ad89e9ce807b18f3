import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Gate } from "../../src/sandbox/fault.ts";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { Child } from "../support/child.ts";
import { Connection, type StormAnswer } from "../support/connection.ts";
import { ask } from "../support/process-harness.ts";

const STABLE = "/cgi-bin/stable_token";
const PROGRAM = fileURLToPath(new URL("./storm-service.ts", import.meta.url));

/** A service in a process of its own, told about `apps`, with `callers` connections to it. */
class Storm {
  readonly sandbox: Sandbox;
  readonly gate = new Gate();
  readonly #folder = mkdtempSync(join(tmpdir(), "accesstoken-storm-"));
  readonly #apps: { appId: string; secret: string }[];
  readonly #child: Child;
  #connections: Connection[] = [];

  constructor(apps: number, callers: number) {
    this.#apps = Array.from({ length: apps }, (_, n) => ({
      appId: `wx${String(n).padStart(16, "0")}`,
      secret: `secret-of-app-${n}`,
    }));
    this.sandbox = Sandbox.start({ weixinApps: this.#apps, wecomApps: [] });
    const secrets = this.#apps.map(({ appId, secret }) => [`WEIXIN_SECRET_${appId}`, secret]);
    this.#child = new Child([process.execPath, PROGRAM], {
      cwd: this.#folder,
      env: {
        ...(Object.fromEntries(secrets) as Record<string, string>),
        ENV_FILE: "",
        PORT: "0",
        WEIXIN_BASE_URL: this.sandbox.weixinUrl,
        WECOM_BASE_URL: this.sandbox.wecomUrl,
        EXPECTED_REQUESTS: String(callers),
      },
    });
  }

  /** Opens the connections, sends a request for app `n % apps` on the n-th, and resolves when all are in the service. */
  async send(callers: number): Promise<void> {
    this.#connections.push(...(await Connection.openMany(await this.#url(), callers)));
    this.sandbox.inject({ kind: "gate_before", gate: this.gate, times: this.#apps.length });
    for (const [n, connection] of this.#connections.entries()) {
      connection.send(`/AccessToken/getXcx?appid=${this.#apps[n % this.#apps.length]?.appId}`);
    }
    await this.gate.arrived(this.#apps.length);
    await this.#child.find(/arrived/);
  }

  answers(): Promise<StormAnswer[]> {
    return Promise.all(this.#connections.map(({ answer }) => answer));
  }

  /** One more caller of the first app. */
  async again(): Promise<StormAnswer> {
    const connection = await Connection.open(await this.#url());
    this.#connections.push(connection);
    connection.send("/AccessToken/getXcx?appid=wx0000000000000000");
    return connection.answer;
  }

  /** An operator's word that what WeChat refused has been put right. */
  async unblock(): Promise<number> {
    const { code } = await ask(
      await this.#url(),
      "/v1/apps/wx0000000000000000/unblock",
      {},
      { method: "POST" },
    );
    return code;
  }

  async #url(): Promise<string> {
    const [, url = ""] = await this.#child.find(/url (http:\S+)/);
    return url;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const connection of this.#connections) connection.close();
    await this.#child[Symbol.asyncDispose]();
    await this.sandbox.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

test("P1: ten thousand cold calls at once for one app cost one upstream call, and all get its token", async () => {
  await using storm = new Storm(1, 10_000);
  await storm.send(10_000);
  storm.gate.open();
  const answers = await storm.answers();
  expect(answers).toHaveLength(10_000);
  expect(answers.filter(({ code }) => code !== 0)).toEqual([]);
  const tokens = new Set(answers.map(({ data }) => data.access_token));
  expect(tokens.size).toBe(1);
  expect(storm.sandbox.accepts(String([...tokens][0]))).toBe(true);
  expect(storm.sandbox.calls()).toBe(1);
});

test("P1: ten thousand cold calls at once whose fetch fails all get that failure from one upstream call", async () => {
  await using storm = new Storm(1, 10_000);
  await storm.send(10_000);
  storm.sandbox.changeWeixinApp("wx0000000000000000", { account: "frozen" });
  storm.gate.open();
  const answers = await storm.answers();
  expect(new Set(answers.map(({ code, msg, data }) => JSON.stringify({ code, msg, data }))).size).toBe(1);
  expect(answers[0]).toMatchObject({ code: 50007 });
  expect(storm.sandbox.calls()).toBe(1);

  storm.sandbox.changeWeixinApp("wx0000000000000000", { account: undefined });
  const { code, msg, data } = await storm.again();
  expect({ code, msg, data }).toEqual({ code: 50007, msg: String(answers[0]?.msg), data: {} });
  expect(storm.sandbox.calls()).toBe(1);
  expect(await storm.unblock()).toBe(0);
  expect((await storm.again()).code).toBe(0);
  expect(storm.sandbox.calls(STABLE)).toBe(2);
});

test("P1: two thousand cold calls at once for a hundred apps cost a hundred upstream calls", async () => {
  await using storm = new Storm(100, 2000);
  await storm.send(2000);
  storm.gate.open();
  const answers = await storm.answers();
  expect(answers.filter(({ code }) => code !== 0)).toEqual([]);
  const tokens = answers.map(({ data }) => data.access_token);
  expect(new Set(tokens).size).toBe(100);
  expect(tokens).toEqual(tokens.map((_, n) => tokens[n % 100]));
  expect(storm.sandbox.calls(STABLE)).toBe(100);
});
