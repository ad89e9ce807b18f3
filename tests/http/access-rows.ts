import type { Action } from "../../src/access/client.ts";
import type { Route } from "../../src/service/running-service.ts";
import { CORP, WECOM, WX } from "../support/harness.ts";

/** The public name of the WeCom application that the service holds. */
export const WECOM_APP = `${CORP}_${WECOM.agent}`;

/** What a route asks of its caller: nothing, a grant for anything (`any`), that app's (`any here`), or an action. */
export type Need = "public" | "any" | "any here" | Action;

/** What may be changed or removed by a request without harm to another. */
export interface Target {
  readonly app: string;
  readonly client: string;
  readonly key: string;
  /** Access tokens of the apps, as they stand. */
  readonly tokens: Readonly<Record<"weixin" | "wecom", string>>;
  /** Unlike that of any other target. */
  readonly number: number;
}

/** One kind of request to a route, which is good in itself, and what the route asks of its caller. */
export interface Row {
  readonly route: string;
  readonly need: Need;
  /** Where the app's secret, or a key in its place, may be; the documented protocol alone has such a place. */
  readonly secretName?: "secret" | "wx_app_secret" | "corpsecret";
  /** The true secret of the app that it asks for. */
  readonly trueSecret?: string;
  /** Where it is one of WeChat's own: what it takes, a secret, an app's access token, or a key alone. */
  readonly dropin?: { readonly platform: "weixin" | "wecom"; readonly takes: "secret" | "token" | "key" };
  /** The path, where it is not the route's. */
  readonly path?: (target: Target) => string;
  readonly query?: (target: Target) => Record<string, string>;
  readonly body?: (target: Target) => Record<string, unknown>;
}

const URL = "https://shop.example.com/page";
const CODE = ({ number }: Target) => `sandbox-code-${number}`;
const TOKEN = `/v1/apps/${WX.appId}/credentials`;
const TARGET_APP = ({ app }: Target) => `/v1/apps/${app}`;
const TARGET_CLIENT = ({ client }: Target) => `/v1/clients/${client}`;

const inQuery = { secretName: "secret", trueSecret: WX.secret } as const;
const inBody = { secretName: "wx_app_secret", trueSecret: WX.secret } as const;
const ofWecom = {
  secretName: "secret",
  trueSecret: WECOM.secret,
  query: () => ({ corpid: CORP, agentid: WECOM.agent }),
} as const;

const GRANT = { grant_type: "client_credential", appid: WX.appId };
const ofCorp = { secretName: "corpsecret", trueSecret: WECOM.secret } as const;
const takes = (platform: "weixin" | "wecom", what: "secret" | "token" | "key") =>
  ({ dropin: { platform, takes: what } }) as const;
const byCode = (name: string) => (target: Target) => ({
  grant_type: "authorization_code",
  appid: WX.appId,
  [name]: CODE(target),
});
const withToken = (platform: "weixin" | "wecom", more: Record<string, string> = {}) => {
  return ({ tokens }: Target) => ({ access_token: tokens[platform], ...more });
};
const withCode = (name: string) => (target: Target) => ({
  access_token: target.tokens.wecom,
  [name]: CODE(target),
});

/** WeChat's and WeCom's own paths. */
const DROPINS: readonly Row[] = [
  {
    route: "GET /cgi-bin/token",
    need: "token:read",
    ...inQuery,
    ...takes("weixin", "secret"),
    query: () => GRANT,
  },
  ...["/cgi-bin/token", "/cgi-bin/stable_token"].map((path): Row => ({
    route: `POST ${path}`,
    need: "token:read",
    ...inQuery,
    ...takes("weixin", "secret"),
    body: () => GRANT,
  })),
  {
    route: "POST /cgi-bin/stable_token",
    need: "token:read",
    ...inQuery,
    ...takes("weixin", "secret"),
    body: () => ({ ...GRANT, force_refresh: true }),
  },
  {
    route: "GET /cgi-bin/gettoken",
    need: "token:read",
    ...ofCorp,
    ...takes("wecom", "secret"),
    query: () => ({ corpid: CORP, agentid: WECOM.agent }),
  },
  ...[["/sns/jscode2session", "js_code"] as const, ["/sns/oauth2/access_token", "code"] as const].map(
    ([path, name]): Row => ({
      route: `GET ${path}`,
      need: "login",
      ...inQuery,
      ...takes("weixin", "secret"),
      query: byCode(name),
    }),
  ),
  ...["GET", "POST"].flatMap((method): Row[] => [
    {
      route: `${method} /cgi-bin/ticket/getticket`,
      need: "ticket:read",
      ...takes("weixin", "token"),
      query: withToken("weixin", { type: "jsapi" }),
    },
    {
      route: `${method} /cgi-bin/get_jsapi_ticket`,
      need: "ticket:read",
      ...takes("wecom", "token"),
      query: withToken("wecom"),
    },
    {
      route: `${method} /cgi-bin/ticket/get`,
      need: "ticket:read",
      ...takes("wecom", "token"),
      query: withToken("wecom", { type: "agent_config" }),
    },
  ]),
  ...[
    ["/cgi-bin/auth/getuserinfo", "code"] as const,
    ["/cgi-bin/user/getuserinfo", "code"] as const,
    ["/cgi-bin/school/getuserinfo", "code"] as const,
    ["/cgi-bin/miniprogram/jscode2session", "js_code"] as const,
  ].map(([path, name]): Row => ({
    route: `GET ${path}`,
    need: "login",
    ...takes("wecom", "token"),
    query: withCode(name),
  })),
  {
    route: "* /gateway/:app/*",
    need: "api:call",
    ...takes("weixin", "key"),
    path: () => `/gateway/${WX.appId}/cgi-bin/getcallbackip`,
  },
  {
    route: "* /gateway/:app/*",
    need: "ticket:read",
    ...takes("wecom", "key"),
    path: () => `/gateway/${WECOM_APP}/cgi-bin/get_jsapi_ticket`,
  },
  {
    route: "* /*",
    need: "api:call",
    ...takes("weixin", "token"),
    path: () => "/cgi-bin/getcallbackip",
    query: withToken("weixin"),
  },
];

/** Every route of the service. */
export const ROWS: readonly Row[] = [
  ...DROPINS,
  ...["/", "/livez", "/readyz"].map((path) => ({ route: `GET ${path}`, need: "public" }) as const),
  { route: "GET /metrics", need: "metrics:read" },
  ...["", "start.js", "ui.js", "ui.css", "json"].map(
    (name) => ({ route: `GET /swagger/${name}`, need: "public" }) as const,
  ),
  { route: "GET /docs", need: "public" },
  { route: "GET /docs/*", need: "public", path: () => "/docs/zh/README" },
  { route: "GET /AccessToken/getXcx", need: "token:read", ...inQuery, query: () => ({ appid: WX.appId }) },
  { route: "GET /AccessToken/clearXcx", need: "token:clear", ...inQuery, query: () => ({ appid: WX.appId }) },
  { route: "GET /AccessToken/getQyapi", need: "token:read", ...ofWecom },
  { route: "GET /AccessToken/clearQyapi", need: "token:clear", ...ofWecom },
  {
    route: "POST /AccessToken/getOauthAccessToken",
    need: "login",
    ...inBody,
    body: (target) => ({ code: CODE(target), wx_app_id: WX.appId }),
  },
  {
    route: "POST /JsSDK/getJsApiSign",
    need: "ticket:sign",
    ...inBody,
    body: () => ({ wx_app_id: WX.appId, url: URL }),
  },
  {
    route: "GET /xcx/jscode2session",
    need: "login",
    ...inQuery,
    query: (target) => ({ appid: WX.appId, code: CODE(target) }),
  },
  { route: "GET /v1/apps", need: "any" },
  { route: "GET /v1/apps/:app", need: "any here", path: () => `/v1/apps/${WX.appId}` },
  {
    route: "POST /v1/apps/:app/unblock",
    need: "token:refresh",
    path: () => `/v1/apps/${WX.appId}/unblock`,
  },
  {
    route: "POST /v1/apps",
    need: "admin",
    body: ({ number }) => ({
      platform: "weixin",
      app_id: `wx${String(number).padStart(16, "f")}`,
      secret: "new-secret",
    }),
  },
  { route: "PATCH /v1/apps/:app", need: "admin", path: TARGET_APP, body: () => ({ title: "Shop" }) },
  { route: "DELETE /v1/apps/:app", need: "admin", path: TARGET_APP },
  {
    route: "GET /v1/apps/:app/credentials/:kind",
    need: "token:read",
    path: () => `${TOKEN}/access_token`,
  },
  {
    route: "GET /v1/apps/:app/credentials/:kind",
    need: "ticket:read",
    path: () => `${TOKEN}/jsapi_ticket`,
  },
  {
    route: "POST /v1/apps/:app/credentials/:kind/refresh",
    need: "token:refresh",
    path: () => `${TOKEN}/access_token/refresh`,
    body: () => ({}),
  },
  {
    route: "POST /v1/apps/:app/credentials/:kind/replace",
    need: "token:refresh",
    path: () => `${TOKEN}/access_token/replace`,
    body: () => ({ rejected: "70_some_older_token" }),
  },
  {
    route: "DELETE /v1/apps/:app/credentials/:kind",
    need: "token:clear",
    path: () => `${TOKEN}/access_token`,
  },
  {
    route: "POST /v1/apps/:app/signatures/jsapi",
    need: "ticket:sign",
    path: () => `/v1/apps/${WX.appId}/signatures/jsapi`,
    body: () => ({ url: URL }),
  },
  {
    route: "POST /v1/apps/:app/signatures/agent-config",
    need: "ticket:sign",
    path: () => `/v1/apps/${WECOM_APP}/signatures/agent-config`,
    body: () => ({ url: URL }),
  },
  {
    route: "POST /v1/apps/:app/signatures/card",
    need: "ticket:sign",
    path: () => `/v1/apps/${WX.appId}/signatures/card`,
    body: () => ({ for: "addCard", card_id: "pCard" }),
  },
  { route: "GET /v1/clients", need: "admin" },
  {
    route: "POST /v1/clients",
    need: "admin",
    body: ({ number }) => ({ client: `new-${number}`, environment: "dev", grants: [] }),
  },
  { route: "GET /v1/clients/:client", need: "admin", path: TARGET_CLIENT },
  {
    route: "PATCH /v1/clients/:client",
    need: "admin",
    path: TARGET_CLIENT,
    body: () => ({ environment: "prod" }),
  },
  { route: "DELETE /v1/clients/:client", need: "admin", path: TARGET_CLIENT },
  { route: "GET /v1/clients/:client/keys", need: "admin", path: (to) => `${TARGET_CLIENT(to)}/keys` },
  {
    route: "POST /v1/clients/:client/keys",
    need: "admin",
    path: (to) => `${TARGET_CLIENT(to)}/keys`,
    body: () => ({ label: "another" }),
  },
  {
    route: "POST /v1/clients/:client/keys/:key/roll",
    need: "admin",
    path: (to) => `${TARGET_CLIENT(to)}/keys/${to.key}/roll`,
    body: () => ({}),
  },
  {
    route: "DELETE /v1/clients/:client/keys/:key",
    need: "admin",
    path: (to) => `${TARGET_CLIENT(to)}/keys/${to.key}`,
  },
  ...["", "/usage", "/denials", "/reads", "/refusals", "/export", "/verify"].map(
    (path) => ({ route: `GET /v1/audit${path}`, need: "admin" }) as const,
  ),
  { route: "GET /v1/keys/:key", need: "admin", path: ({ key }) => `/v1/keys/${key}` },
  { route: "DELETE /v1/keys/:key", need: "admin", path: ({ key }) => `/v1/keys/${key}` },
  { route: "GET /v1/nodes", need: "admin" },
  { route: "GET /v1/settings", need: "admin" },
  { route: "PATCH /v1/settings", need: "admin", body: () => ({}) },
  { route: "GET /v1/settings/anonymous-callers", need: "admin" },
];

/** The routes that no row asks for, and the rows of no route. */
export function missingRows(routes: readonly Route[]): string[] {
  const listed = new Set(routes.map(({ method, path }) => `${method} ${path}`));
  const asked = new Set(ROWS.map(({ route }) => route));
  return [...listed.symmetricDifference(asked)];
}
