import { createClient } from "../support/access-harness.ts";
import { CORP, Harness, WECOM, type WorldOptions, WX } from "../support/harness.ts";

/** The public name of the WeCom application. */
export const WECOM_APP = `${CORP}_${WECOM.agent}`;
/** Where each environment's web logins return to. */
export const HOME = {
  dev: "https://dev.example.com",
  st: "https://st.example.com",
  prod: "https://www.example.com",
} as const;
export type EnvironmentName = keyof typeof HOME;
const PUBLIC_URL = "https://wx.example.com";

/** Where a browser is sent. */
export interface Sent {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly location: URL;
}

/** A world with three environments of one Official Account and one WeCom application. */
export class LoginHarness {
  readonly world: Harness;

  private constructor(world: Harness) {
    this.world = world;
  }

  static async create(options: WorldOptions = {}): Promise<LoginHarness> {
    const environment = { PUBLIC_URL, ANONYMOUS: "on", ...options.environment };
    const at = new LoginHarness(await Harness.create({ ...options, environment }));
    for (const name of Object.keys(HOME)) await at.change("PUT", `/v1/environments/${name}`, {});
    for (const app of [WX.appId, WECOM_APP])
      for (const [name, origin] of Object.entries(HOME)) await at.allow(app, name, [origin]);
    return at;
  }

  /** Sets the redirect origins of an app in an environment. */
  allow(app: string, environment: string, origins: readonly string[]) {
    const path = `/v1/apps/${app}/redirect-origins/${environment}`;
    return this.change("PUT", path, { redirect_origins: origins });
  }

  /** Changes something as an administrator. */
  change(method: string, path: string, body: object) {
    const headers = { "content-type": "application/json" };
    return this.world.administer(path, { method, headers, body: JSON.stringify(body) });
  }

  /** A key of a client of that environment, for logins. */
  key(environment: string): Promise<string> {
    const grants = [{ apps: ["*"], actions: ["login", "token:read", "api:call"] as const }];
    return createClient(this.world, { name: `${environment}-backend`, environment, grants });
  }

  /** Opens a URL as a browser does, and follows no redirect. */
  async open(path: string, init: RequestInit = {}): Promise<Sent> {
    const response = await fetch(this.world.service.url + path, { redirect: "manual", ...init });
    const location = new URL(response.headers.get("location") ?? "about:blank");
    return { status: response.status, headers: response.headers, text: await response.text(), location };
  }

  /** Begins a login of an environment's; gives the state that WeChat is sent. */
  async begin(environment: EnvironmentName, { state = "s", path = "/cb" } = {}): Promise<string> {
    const query = new URLSearchParams({
      appid: WX.appId,
      redirect_uri: HOME[environment] + path,
      response_type: "code",
      scope: "snsapi_base",
      state,
    });
    const { location } = await this.open(`/connect/oauth2/authorize?${query.toString()}`);
    return location.searchParams.get("state") ?? "";
  }

  /** Comes back from WeChat. */
  back(state: string, code?: string): Promise<Sent> {
    const query = new URLSearchParams({ ...(code === undefined ? {} : { code }), state });
    return this.open(`/connect/return?${query.toString()}`);
  }

  /** A whole login of an environment's; gives the code that it receives. */
  async codeOf(environment: EnvironmentName, code: string): Promise<string> {
    const { location } = await this.back(await this.begin(environment), code);
    return location.searchParams.get("code") ?? "";
  }

  /** Exchanges a code by the documented protocol; without a key as a caller of the trusted network. */
  exchange(code: string, key?: string) {
    const headers: Record<string, string> = key === undefined ? {} : { "x-api-key": key };
    return this.world.post("/AccessToken/getOauthAccessToken", { code, wx_app_id: WX.appId }, { headers });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.world[Symbol.asyncDispose]();
  }
}
