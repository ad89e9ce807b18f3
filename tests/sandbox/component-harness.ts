import { readPushFields } from "../../src/callbacks/push-fields.ts";
import { verifyPush } from "../../src/callbacks/verify-push.ts";
import type { ComponentControl } from "../../src/sandbox/component-control.ts";
import type { SandboxComponent } from "../../src/sandbox/sandbox-settings.ts";
import { Secret } from "../../src/secret.ts";
import { type Reply, SandboxHarness, type WorldOptions } from "./sandbox-harness.ts";

export const OFFICIAL = "wxa000000000000001";
export const MINI = "wxa000000000000002";
export const COMPONENT: SandboxComponent = {
  appId: "wxc000000000000001",
  secret: "secret-of-component",
  token: "sandboxtoken2",
  aesKey: "accesstokenSandboxKey0123456789abcdefghijkL",
  authorizers: [
    { appId: OFFICIAL, name: "公众号一", userName: "gh_000000000001", kind: "official", funcIds: [1, 2] },
    { appId: MINI, name: "小程序二", userName: "gh_000000000002", kind: "miniprogram", funcIds: [17] },
  ],
};

/** A push as it arrived: its path, its query and the fields that were decrypted. */
export interface ArrivedPush {
  readonly path: string;
  readonly query: URLSearchParams;
  /** The body as it was sent. */
  readonly envelope: string;
  readonly fields: Readonly<Record<string, string>>;
}

/** A sandbox with a third-party platform whose two callback URLs are a server that verifies each push. */
export class ComponentHarness extends SandboxHarness {
  readonly arrived: ArrivedPush[] = [];
  /** What the callback URLs answer. */
  answer = () => new Response("success");
  readonly control: ComponentControl;
  readonly #server;

  constructor(component: Partial<SandboxComponent> = {}, options: WorldOptions = {}) {
    super({ ...options, components: [{ ...COMPONENT, ...component }] });
    this.#server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: (request) => this.#receive(request) });
    this.control = this.sandbox.component(COMPONENT.appId);
    const { origin } = this.#server.url;
    this.control.setUrls({ eventUrl: `${origin}/event?own=1`, messageUrl: `${origin}/message/$APPID$` });
  }

  /** The fields of the push that came last. */
  get lastFields(): Readonly<Record<string, string>> {
    return this.arrived.at(-1)?.fields ?? {};
  }

  /** Asks for a component token with the latest ticket, or what `change` says instead. */
  token(change: Record<string, unknown> = {}): Promise<Reply> {
    const body = {
      component_appid: COMPONENT.appId,
      component_appsecret: COMPONENT.secret,
      component_verify_ticket: this.control.component.latestTicket(),
      ...change,
    };
    return this.weixinPost("/cgi-bin/component/api_component_token", {}, body);
  }

  /** A component token that is valid. */
  async freshToken(): Promise<string> {
    await this.control.pushTicket();
    return String((await this.token()).json["component_access_token"]);
  }

  /** A call below `/cgi-bin/component/` with a component token and the component's appid. */
  api(name: string, token: string, body: Record<string, unknown> = {}): Promise<Reply> {
    const named = { component_appid: COMPONENT.appId, ...body };
    return this.weixinPost(`/cgi-bin/component/${name}`, { component_access_token: token }, named);
  }

  /** Lets an account authorize the component and exchanges the code: `authorization_info`. */
  async authorized(token: string, appId = OFFICIAL): Promise<Record<string, unknown>> {
    const { code } = await this.control.authorize(appId);
    const { json } = await this.api("api_query_auth", token, { authorization_code: code });
    return json["authorization_info"] as Record<string, unknown>;
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]();
    await this.#server.stop(true);
  }

  async #receive(request: Request): Promise<Response> {
    const { pathname: path, search, searchParams: query } = new URL(request.url);
    const body = await request.bytes();
    const settings = {
      platform: "weixin",
      mode: "secure",
      keys: [{ token: new Secret(COMPONENT.token), encodingAesKey: new Secret(COMPONENT.aesKey) }],
      receiveIds: [COMPONENT.appId],
    } as const;
    const sent = { method: "POST", query: search.slice(1), body } as const;
    const push = verifyPush(settings, sent, this.clock.now());
    if (push.kind !== "push") throw new Error("a check");
    const fields = Object.fromEntries(readPushFields(push.message).fields);
    this.arrived.push({ path, query, envelope: Buffer.from(body).toString(), fields });
    return this.answer();
  }
}
