import { generatePushKey, PushRefused } from "../../src/callbacks/push-crypto.ts";
import { verifyPush } from "../../src/callbacks/verify-push.ts";
import type { SandboxProvider, SandboxSwitches } from "../../src/sandbox/sandbox-settings.ts";
import type { SuiteControl } from "../../src/sandbox/suite-control.ts";
import { type Reply, SandboxHarness } from "./sandbox-harness.ts";

export const PROVIDER = { corpId: "wwprovider00000001", secret: "secret-of-provider" };
export const SUITE = "wwsuite0000000000001";
export const TEMPLATE = "dktemplate0000000001";
/** A stalled machine is not a late answer. */
const PATIENCE_MS = 60_000;
export const CORP = "wwcustomer0000000001";
export const OTHER_CORP = "wwcustomer0000000002";
const corps = (agentId: number) => [
  { corpId: CORP, name: "客户甲", agentId },
  { corpId: OTHER_CORP, name: "客户乙", agentId: agentId + 1 },
];

/** What a callback URL got: decrypted, with whom it named. */
export interface Received {
  readonly path: string;
  readonly text: string;
  readonly receiveId: string;
  readonly outer: string;
}

/** A sandbox with a provider of a third-party app and a template, and the provider's callback URLs. */
export class SuiteHarness extends SandboxHarness {
  /** What the URLs answer to a push. */
  answer: () => Response | Promise<Response> = () => new Response("success");
  /** What they were pushed, oldest first. */
  readonly received: Received[] = [];
  readonly suite: SuiteControl;
  readonly template: SuiteControl;
  readonly #server: Bun.Server<undefined>;

  constructor(switches: Partial<SandboxSwitches> = {}, provider: Partial<SandboxProvider> = {}) {
    const keys = new Map([SUITE, TEMPLATE].map((id) => [id, generatePushKey()]));
    const suites = [...keys].map(([suiteId, key], index) => ({
      suiteId,
      secret: `secret-of-${suiteId}`,
      token: key.token.reveal(),
      aesKey: key.encodingAesKey.reveal(),
      corps: corps(1_000_010 + index * 10),
    }));
    super({
      providers: [{ ...PROVIDER, ...provider, suites }],
      switches: { commandTimeoutMs: PATIENCE_MS, ...switches },
    });
    this.#server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: async (request) => {
        const { pathname, search } = new URL(request.url);
        const key = keys.get(pathname.split("/")[1] ?? "");
        if (!key) return new Response(null, { status: 404 });
        const everybody = [SUITE, TEMPLATE, PROVIDER.corpId, CORP, OTHER_CORP, ""];
        const settings = { platform: "wecom", mode: "secure", keys: [key], receiveIds: everybody } as const;
        const checked = { ...settings, checkReceiveIds: [PROVIDER.corpId] };
        const method = request.method === "GET" ? "GET" : "POST";
        const body = await request.bytes();
        try {
          const push = verifyPush(checked, { method, query: search.slice(1), body }, this.clock.now());
          if (push.kind === "check") return new Response(push.echo);
          const text = Buffer.from(push.message).toString();
          const outer = fieldOf(Buffer.from(body).toString(), "ToUserName");
          this.received.push({ path: pathname, text, receiveId: push.receiveId, outer });
          return await this.answer();
        } catch (error) {
          if (!(error instanceof PushRefused)) throw error;
          return new Response(error.reason, { status: 403 });
        }
      },
    });
    [this.suite, this.template] = [this.sandbox.suite(SUITE), this.sandbox.suite(TEMPLATE)];
    for (const [id, control] of [[SUITE, this.suite] as const, [TEMPLATE, this.template] as const]) {
      const url = `${this.#server.url.href}${id}`;
      control.setUrls({ commandUrl: `${url}/command`, dataUrl: `${url}/data/$CORPID$` });
    }
  }

  /** Where the callback URLs are: an origin. */
  get origin(): string {
    return this.#server.url.origin;
  }

  /** The text of an element of the last push. */
  last(name: string): string {
    return fieldOf(this.received.at(-1)?.text ?? "", name);
  }

  service(path: string, query: Record<string, string>, body: unknown): Promise<Reply> {
    return this.wecomPost(`/cgi-bin/service/${path}`, query, body);
  }

  suiteToken(suite_ticket: string, suite_id = SUITE, suite_secret = `secret-of-${suite_id}`): Promise<Reply> {
    return this.service("get_suite_token", {}, { suite_id, suite_secret, suite_ticket });
  }

  /** A valid suite token in the query that its calls want. */
  async asSuite(suiteId = SUITE): Promise<{ suite_access_token: string }> {
    const { ticket } = await this.sandbox.suite(suiteId).pushTicket();
    const { json } = await this.suiteToken(ticket, suiteId);
    return { suite_access_token: String(json["suite_access_token"]) };
  }

  async asProvider(): Promise<{ provider_access_token: string }> {
    const body = { corpid: PROVIDER.corpId, provider_secret: PROVIDER.secret };
    const { json } = await this.service("get_provider_token", {}, body);
    return { provider_access_token: String(json["provider_access_token"]) };
  }

  agencyToken(corpsecret: string): Promise<Reply> {
    return this.wecom("/cgi-bin/gettoken", { corpid: CORP, corpsecret });
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
    await super[Symbol.asyncDispose]();
  }
}

function fieldOf(xml: string, name: string): string {
  const found = new RegExp(`<${name}>(?:<!\\[CDATA\\[)?(.*?)(?:\\]\\]>)?</${name}>`).exec(xml);
  return found?.[1] ?? "";
}
