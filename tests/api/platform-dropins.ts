import type { Action, Delivery } from "../../src/access/client.ts";
import { COMPONENT, holdPlatforms, OFFICIAL, PLATFORM_SANDBOX, SUITE } from "../support/platform-world.ts";
import { type Asking, DropinHarness, type WireAnswer } from "./dropin-harness.ts";

export const TOKEN = "/cgi-bin/component/api_component_token";
export const QUERY_AUTH = "/cgi-bin/component/api_query_auth";
export const AUTHORIZER_TOKEN = "/cgi-bin/component/api_authorizer_token";
/** The path of one of WeCom's calls for service providers. */
export const service = (path: string) => `/cgi-bin/service/${path}`;
/** A virtual refresh token, and a virtual permanent code. */
export const REFRESH = /^refreshtoken@@@atvg1_[\w-]+$/;
export const PERMANENT = /^atvg1_[\w-]+$/;

/** How a call below `/cgi-bin/component/` is made. */
export const asked = (token: string, body: object, name = "component_access_token"): Asking => ({
  query: { [name]: token },
  body: { component_appid: COMPONENT.appId, ...body },
});

/** How an account's token is asked for. */
export const ofAccount = (token: string, refreshToken: unknown, account = OFFICIAL) =>
  asked(token, { authorizer_appid: account, authorizer_refresh_token: refreshToken });

/** A service that holds the sandbox's platforms, and what programs ask at the endpoints of theirs. */
export class PlatformDropins {
  readonly it: DropinHarness;
  #count = 0;

  private constructor(it: DropinHarness) {
    this.it = it;
  }

  static async create(): Promise<PlatformDropins> {
    const it = await DropinHarness.create({ sandbox: PLATFORM_SANDBOX });
    await holdPlatforms(it.world);
    return new PlatformDropins(it);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.it[Symbol.asyncDispose]();
  }

  /** A client with a key that may have the tokens of these platforms and accounts, and log their users in. */
  async client(
    apps: readonly string[] = ["*"],
    delivery: Delivery = "virtual",
    actions: readonly Action[] = ["token:read", "login"],
  ) {
    const name = `client-${++this.#count}`;
    return { name, key: await this.it.key(name, { apps, actions, delivery }) };
  }

  async componentToken(secret: string): Promise<string> {
    const body = { component_appid: COMPONENT.appId, component_appsecret: secret };
    const answer = await this.it.ask(TOKEN, {
      body: { ...body, component_verify_ticket: "ticket@@@withheld" },
    });
    return String(answer.body["component_access_token"]);
  }

  /** A suite's token of a client, in the query that its calls want. */
  async suiteQuery(key: string, suite = SUITE): Promise<Record<string, string>> {
    const body = { suite_id: suite.id, suite_secret: key, suite_ticket: "any" };
    const { body: answer } = await this.it.ask(service("get_suite_token"), { body });
    return { suite_access_token: String(answer["suite_access_token"]) };
  }

  /** The code of an account that authorizes the component now, or once more. */
  async authorized(account: string): Promise<string> {
    const component = this.it.sandbox.component(COMPONENT.appId);
    return (await component.authorize(account, { send: "neither" })).code;
  }

  /** What a code says of the account that gave it. */
  async queried(token: string, code: string): Promise<WireAnswer["body"]> {
    return (await this.it.ask(QUERY_AUTH, asked(token, { authorization_code: code }))).body[
      "authorization_info"
    ];
  }
}
