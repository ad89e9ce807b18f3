import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { createAdmin, createClient } from "../support/access-harness.ts";
import { endingText } from "../support/event-stream.ts";
import { CORP, WECOM, WECOM_FOREIGN, Harness, WX, WX_FOREIGN } from "../support/harness.ts";
import { checkAnswer, type FuzzAnswer } from "./fuzz-answers.ts";
import { WECHATS } from "./fuzz-wechat-answers.ts";
import { type FuzzRequest, LIVE_CURSOR, LIVE_KEY, LIVE_TOKEN, requestsOf } from "./fuzz-request.ts";
import { type Operation, operationsOf } from "./openapi-document.ts";

/**
 * Together 12,000 requests, for every change. `FUZZ_BATCHES=2000` sends more, as for every night; `FUZZ_SEED` repeats a
 * run or begins another; a failure names the seed.
 */
const BATCHES = Number(process.env["FUZZ_BATCHES"] ?? 480);
const AT_ONCE = 25;
const SEED = Number(process.env["FUZZ_SEED"] ?? 20_261_124);
/** How many requests each route must have had: so many that each kind of mistake was made there several times. */
const MIN_SENT = BATCHES / 12;
/** How many of them must have succeeded, so that its handler was reached and not its validation alone. */
const MIN_SUCCEEDED = BATCHES / 480;
const USUAL_WEIGHT = 8;
/**
 * How much more or less often than the others some routes come: what costs as much as there are entries comes seldom; and
 * apps and clients are made more often than removed, because few tries succeed, and there must be some to be changed.
 */
const WEIGHTS: Readonly<Record<string, number>> = {
  "GET /v1/audit/export": 2,
  "GET /v1/audit/verify": 2,
  "POST /v1/apps": 48,
  "PATCH /v1/apps/{app}": 40,
  "DELETE /v1/apps/{app}": 12,
  "PUT /v1/apps/{app}/callbacks": 40,
  "POST /v1/apps/{app}/callbacks/rotate": 16,
  "PUT /v1/apps/{app}/callbacks/targets/{target}": 56,
  "PUT /v1/apps/{app}/callbacks/routes": 32,
  "GET /v1/apps/{app}/callbacks/targets/{target}": 20,
  "DELETE /v1/apps/{app}/callbacks": 8,
  "DELETE /v1/apps/{app}/callbacks/targets/{target}": 24,
  "GET /v1/apps/{app}/deliveries": 24,
  "PUT /v1/environments/{environment}": 16,
  "DELETE /v1/environments/{environment}": 16,
  "GET /v1/apps/{app}/call": 20,
  "POST /v1/apps/{app}/call": 64,
  "POST /v1/apps/{app}/signatures/agent-config": 30,
  "POST /v1/notifications/channels": 60,
  "GET /v1/notifications/channels/{channel}": 20,
  "PATCH /v1/notifications/channels/{channel}": 24,
  "DELETE /v1/notifications/channels/{channel}": 10,
  "POST /v1/notifications/channels/{channel}/test": 20,
  "GET /gateway/{app}/{path}": 40,
  "POST /gateway/{app}/{path}": 40,
  "POST /v1/clients/{client}/check": 24,
  "GET /v1/settings/configuration": 10,
  "POST /v1/clients": 48,
  "PATCH /v1/clients/{client}": 24,
  "DELETE /v1/clients/{client}": 5,
  "POST /v1/clients/{client}/keys/{key}/roll": 20,
  "DELETE /v1/clients/{client}/keys/{key}": 14,
  "DELETE /v1/keys/{key}": 14,
};

const SECRETS = [WX, WX_FOREIGN, WECOM, WECOM_FOREIGN].map(({ secret }) => secret);

/** A service, whoever may ask it, and what they have learned. */
class FuzzHarness {
  readonly counts = new Map<string, { sent: number; succeeded: number }>();
  readonly codes = new Map<string, number>();
  readonly operations: readonly Operation[];
  readonly #world: Harness;
  readonly #keys: Readonly<Record<string, string>>;
  /** Clients' keys that exist or did, the latest last. */
  readonly #live: { client: string; key: string }[] = [];
  /** The latest `next` of each path. */
  readonly #next = new Map<string, string>();
  #picked = 0;
  #token = "70_none";

  private constructor(
    world: Harness,
    operations: readonly Operation[],
    keys: Readonly<Record<string, string>>,
  ) {
    this.#world = world;
    this.operations = operations;
    this.#keys = keys;
    for (const { name } of operations) this.counts.set(name, { sent: 0, succeeded: 0 });
  }

  static async create(): Promise<FuzzHarness> {
    const weixinApps = [
      WX,
      WX_FOREIGN,
      ...[0, 1, 2].map((n) => ({ appId: `wx0000000000000f0${n}`, secret: WX.secret })),
    ];
    const wecomApps = [WECOM, WECOM_FOREIGN, { corpId: CORP, agent: "7", secret: WECOM_FOREIGN.secret }];
    const world = await Harness.create({
      sandbox: { weixinApps, wecomApps },
      environment: { ANONYMOUS: "on", ANONYMOUS_RATE_LIMIT: "0" },
    });
    const document = await fetch(`${world.service.url}/swagger/json`);
    const actions = ["token:read", "token:refresh", "ticket:read", "ticket:sign", "api:call"] as const;
    const reader = { name: "reader", grants: [{ apps: [WX.appId], actions }] };
    const keys = {
      admin: await createAdmin(world),
      reader: await createClient(world, reader),
      stranger: `ats_${"0".repeat(49)}`,
    };
    return new FuzzHarness(world, operationsOf(await document.text()), keys);
  }

  /** Sends a request and checks the answer; the error of what is wrong tells the request. */
  async send(wanted: FuzzRequest): Promise<void> {
    const { method, path, headers, body } = this.#withLive(wanted);
    // WeChat's own paths are there over HTTP alone, where an administrator has a key.
    const isLocal = wanted.caller === "administrator" && !WECHATS.test(path);
    const base = isLocal ? "http://localhost" : this.#world.service.url;
    const url = new URL(base + path);
    const operation = this.operations.find((each) => each.method === method && each.matches(url.pathname));
    const isRemote = wanted.caller === "administrator" && !isLocal;
    const key = this.#keys[isRemote ? "admin" : wanted.caller];
    const request = new Request(url.href, {
      method,
      headers: { ...headers, ...(key ? { authorization: `Bearer ${key}` } : {}) },
      ...(body === undefined ? {} : { body }),
    });
    const response = await (isLocal ? this.#world.service.handle(request) : fetch(request));
    const answer = { status: response.status, headers: response.headers, text: await endingText(response) };
    try {
      this.#check(operation, url.pathname, answer);
    } catch (error) {
      const asked = JSON.stringify({ ...wanted, path, body: body?.slice(0, 1000) });
      throw new Error(`${asked} was answered ${answer.status} ${answer.text.slice(0, 1000)}`, {
        cause: error,
      });
    }
  }

  /** Time goes by, so that what was cleared or refused a while ago may be asked for again. */
  passTime(ms: number): void {
    this.#world.clock.advance(ms);
  }

  #check(operation: Operation | undefined, path: string, answer: FuzzAnswer): void {
    const body = checkAnswer(operation, path, answer);
    const code = body?.code ?? 0;
    if (code !== 0) {
      const said = `${answer.text}${JSON.stringify([...answer.headers.entries()])}`;
      const secrets = [...SECRETS, ...Object.values(this.#keys), this.#token];
      expect(secrets.filter((secret) => said.includes(secret))).toEqual([]);
    }
    const line = `${code} ${code === 503 ? body?.msg : ""}`.trim();
    this.codes.set(line, (this.codes.get(line) ?? 0) + 1);
    const count = operation && this.counts.get(operation.name);
    if (!operation || !count) return;
    count.sent++;
    if (code !== 0) return;
    count.succeeded++;
    const { value, access_token: token, key, next } = body?.data ?? {};
    if (typeof next === "string") this.#next.set(path, next);
    if (typeof value === "string" || typeof token === "string") this.#token = String(value ?? token);
    const client = /^\/v1\/clients\/([^/]+)\/keys/.exec(path)?.[1];
    if (client && typeof key === "string") this.#live.push({ client, key });
    if (this.#live.length > 20) this.#live.shift();
  }

  /** The request with what exists in the place of what stands for it. */
  #withLive(request: FuzzRequest): FuzzRequest {
    const { path, body } = request;
    // Those that were made just now are hardly revoked yet.
    const pair = this.#live.at(-1 - (this.#picked++ % 4));
    const withKey =
      path.includes(LIVE_KEY) && pair
        ? path
            .replace(/^\/v1\/clients\/[^/]+\/keys\/[^/?]+/, `/v1/clients/${pair.client}/keys/${pair.key}`)
            .replace(/^\/v1\/keys\/[^/?]+/, `/v1/keys/${pair.key}`)
        : path;
    return {
      ...request,
      path: withKey
        .replace(LIVE_TOKEN, this.#token)
        // A puller really waits.
        .replaceAll(/(?<=[?&]wait=)\d[^&]*/g, "0")
        .replace(LIVE_CURSOR, encodeURIComponent(this.#next.get(path.replace(/\?.*/, "")) ?? LIVE_CURSOR)),
      body: body?.replace(LIVE_TOKEN, this.#token),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#world[Symbol.asyncDispose]();
  }
}

test(
  "whatever is sent to any documented route is answered as documented, and never by a fault of ours",
  async () => {
    await using world = await FuzzHarness.create();
    const requests = fc.oneof(
      ...world.operations.map((operation) => ({
        weight: WEIGHTS[operation.name] ?? USUAL_WEIGHT,
        arbitrary: requestsOf(operation),
      })),
    );
    const batch = fc.array(requests, { minLength: AT_ONCE, maxLength: AT_ONCE });
    await fc.assert(
      fc.asyncProperty(batch, fc.integer({ min: 0, max: 4000 }), async (batch, ms) => {
        await Promise.all(batch.map((request) => world.send(request)));
        world.passTime(ms);
      }),
      // What went before is a part of each failure, so a smaller batch would be another story.
      { seed: SEED, numRuns: BATCHES, endOnFailure: true },
    );
    if (process.env["FUZZ_SHOW"]) console.log(world.counts, world.codes);
    // Nothing is pushed here, nobody signs in, and no third-party platform is there whose ticket WeChat has sent.
    const hasNone = (name: string) =>
      /\/deliveries\/\{id\}|\/sessions\/\{session\}|\/v1\/platforms|\/(component|service)\//.test(name);
    const isSeldom = (name: string) => (WEIGHTS[name] ?? USUAL_WEIGHT) < USUAL_WEIGHT;
    const lacking = [...world.counts].filter(
      ([name, { sent, succeeded }]) =>
        (succeeded < MIN_SUCCEEDED && !hasNone(name)) || (sent < MIN_SENT && !isSeldom(name)),
    );
    expect(lacking).toEqual([]);
  },
  2000 * BATCHES,
);
