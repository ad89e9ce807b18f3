import type { Action } from "../../src/access/client.ts";
import type { Route } from "../../src/service/running-service.ts";
import { CORP, WECOM, WX } from "../support/harness.ts";

/** The public name of the WeCom application that the service holds. */
export const WECOM_APP = `${CORP}_${WECOM.agent}`;

/** What a route asks of its caller: nothing, a grant for anything (`any`), that app's (`any here`), `view` of any app, or an action. */
export type Need = "public" | "any" | "any here" | "view anywhere" | Action;

/** What may be changed or removed by a request without harm to another. */
export interface Target {
  readonly app: string;
  readonly platform: string;
  readonly client: string;
  readonly key: string;
  /** Access tokens of the apps, as they stand. */
  readonly tokens: Readonly<Record<"weixin" | "wecom", string>>;
  /** Deliveries of pushes to the environment of the clients, and to another. */
  readonly deliveries: { readonly own: number; readonly other: number };
  /** Unlike that of any other target. */
  readonly number: number;
}

/** One kind of request to a route, which is good in itself, and what the route asks of its caller. */
export interface Row {
  readonly route: string;
  readonly need: Need;
  /** Whether a caller without a key may not do it, whoever else may. */
  readonly needsKey?: true;
  /** Beside those who have what it needs: a client that may do this with every app. */
  readonly alsoFor?: Action;
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
const REDIRECT_ORIGINS = `/v1/apps/${WX.appId}/redirect-origins`;
const VERIFY_FILE = "/v1/verify-files/MP_verify_a1B2c3D4.txt";
const TARGET_APP = ({ app }: Target) => `/v1/apps/${app}`;
const CALLBACKS = `/v1/apps/${WX.appId}/callbacks`;
const TARGET_CLIENT = ({ client }: Target) => `/v1/clients/${client}`;

const ENVIRONMENT = ({ client }: Target) => `/v1/environments/of-${client}`;
const CHANNEL = ({ client }: Target) => `/v1/notifications/channels/${client}`;
const OF_LOGIN_MANAGERS = { need: "admin", alsoFor: "oauth:manage" } as const;

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

const CALL = `/v1/apps/${WX.appId}/call`;
const DELIVERIES = `/v1/apps/${WECOM_APP}/deliveries`;
const PULLED = { own: "dev-pull", other: "prod-pull" } as const;

/** What is done with a delivery of the clients' own environment, and with one of another. */
const deliveriesOf = (whose: "own" | "other", need: Need): readonly Row[] => {
  const path = ({ deliveries }: Target) => `${DELIVERIES}/${deliveries[whose]}`;
  const target = PULLED[whose];
  const one = "/v1/apps/:app/deliveries/:id";
  return [
    { route: "GET /v1/apps/:app/deliveries", need, path: () => DELIVERIES, query: () => ({ target }) },
    {
      route: "GET /v1/apps/:app/deliveries",
      need,
      path: () => DELIVERIES,
      query: () => ({ wait: "0", target }),
    },
    { route: `GET ${one}`, need, path },
    { route: `POST ${one}/ack`, need, path: (to) => `${path(to)}/ack`, body: () => ({}) },
    { route: `POST ${one}/replay`, need, path: (to) => `${path(to)}/replay` },
    {
      route: "POST /v1/apps/:app/deliveries/replay",
      need,
      path: () => `${DELIVERIES}/replay`,
      body: () => ({ target }),
    },
    { route: `DELETE ${one}`, need, path },
  ];
};
/** How pushes are set up; in an order in which each finds what it needs. */
const CALLBACK_ROUTES: readonly Omit<Row, "need">[] = [
  { route: "PUT /v1/apps/:app/callbacks", path: () => CALLBACKS, body: () => ({}) },
  { route: "GET /v1/apps/:app/callbacks", path: () => CALLBACKS },
  {
    route: "POST /v1/apps/:app/callbacks/rotate",
    path: () => `${CALLBACKS}/rotate`,
    body: () => ({}),
  },
  { route: "POST /v1/apps/:app/callbacks/finish", path: () => `${CALLBACKS}/finish` },
  {
    route: "PUT /v1/apps/:app/callbacks/targets/:target",
    path: () => `${CALLBACKS}/targets/dev`,
    body: () => ({ environment: "dev" }),
  },
  { route: "GET /v1/apps/:app/callbacks/targets/:target", path: () => `${CALLBACKS}/targets/dev` },
  {
    route: "PUT /v1/apps/:app/callbacks/routes",
    path: () => `${CALLBACKS}/routes`,
    body: () => ({ routes: [{ target: "dev", role: "primary" }] }),
  },
  { route: "DELETE /v1/apps/:app/callbacks/targets/:target", path: () => `${CALLBACKS}/targets/dev` },
  { route: "DELETE /v1/apps/:app/callbacks", path: () => CALLBACKS },
];

const COMPONENT = ({ number }: Target) => `wx${String(number).padStart(16, "f")}`;
const PLATFORM = ({ platform }: Target) => `/v1/platforms/${platform}`;

/** Third-party platforms are an administrator's alone. */
const PLATFORM_ROUTES: readonly Row[] = [
  { route: "GET /v1/platforms" },
  {
    route: "POST /v1/platforms",
    body: (to: Target) => ({ kind: "component", id: COMPONENT(to), secret: "0".repeat(32) }),
  },
  { route: "GET /v1/platforms/:platform", path: PLATFORM },
  { route: "PATCH /v1/platforms/:platform", path: PLATFORM, body: () => ({ title: "Shops" }) },
  {
    route: "GET /v1/platforms/:platform/authorizations",
    path: (to: Target) => `${PLATFORM(to)}/authorizations`,
  },
  {
    route: "POST /v1/platforms/:platform/links",
    path: (to: Target) => `${PLATFORM(to)}/links`,
    body: () => ({}),
  },
  { route: "DELETE /v1/platforms/:platform", path: PLATFORM },
].map((each): Row => ({ ...each, need: "admin" }));

/** For users' browsers and for WeChat, who show no key: asked of nobody who they are. */
const OPEN = [
  "GET /callback/:app",
  "POST /callback/:app",
  "GET /callback/:platform/:account",
  "POST /callback/:platform/:account",
  "GET /connect/oauth2/authorize",
  "GET /connect/qrconnect",
  "GET /connect/return",
  "GET /connect/authorize/:state",
  "GET /connect/authorize/:state/go",
  "GET /connect/authorize/return",
  "GET /wwlogin/sso/login",
  "GET /get-weixin-code.html",
  "GET /MP_verify_:name.txt",
];

/** Every route of the service that is not for everybody. */
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
  { route: "GET /v1/overview", need: "any" },
  { route: "GET /v1/apps/:app", need: "any here", path: () => `/v1/apps/${WX.appId}` },
  { route: "GET /v1/apps/:app/history", need: "any here", path: () => `/v1/apps/${WX.appId}/history` },
  {
    route: "POST /v1/apps/:app/unblock",
    need: "token:refresh",
    path: () => `/v1/apps/${WX.appId}/unblock`,
  },
  { route: "GET /v1/apps/:app/redirect-origins", need: "oauth:manage", path: () => REDIRECT_ORIGINS },
  {
    route: "PUT /v1/apps/:app/redirect-origins/:environment",
    need: "oauth:manage",
    path: () => `${REDIRECT_ORIGINS}/dev`,
    body: () => ({ redirect_origins: ["https://dev.example.com"] }),
  },
  { route: "GET /v1/verify-files", need: "oauth:manage" },
  {
    route: "PUT /v1/verify-files/:name",
    need: "oauth:manage",
    path: () => VERIFY_FILE,
    body: () => ({ content: "a1B2c3D4" }),
  },
  { route: "DELETE /v1/verify-files/:name", need: "oauth:manage", path: () => VERIFY_FILE },
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
  {
    route: "POST /v1/apps/:app/signatures/diagnose",
    need: "ticket:sign",
    path: () => `/v1/apps/${WX.appId}/signatures/diagnose`,
    body: () => ({ url: URL }),
  },
  { route: "POST /v1/errors/explain", need: "any", body: () => ({ text: "40001" }) },
  ...deliveriesOf("own", "callback:receive"),
  ...deliveriesOf("other", "callback:manage"),
  { route: "GET /v1/callbacks", need: "any" },
  ...PLATFORM_ROUTES,
  ...CALLBACK_ROUTES.map((each): Row => ({ ...each, need: "callback:manage" })),
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
  {
    route: "POST /v1/clients/:client/check",
    need: "admin",
    path: (to) => `${TARGET_CLIENT(to)}/check`,
    body: () => ({ app: WX.appId, method: "GET", path: "/cgi-bin/user/get" }),
  },
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
  ...["", "/usage", "/reads"].map(
    (path) => ({ route: `GET /v1/audit${path}`, need: "view anywhere", needsKey: true }) as const,
  ),
  ...["/denials", "/refusals", "/export", "/verify"].map(
    (path) => ({ route: `GET /v1/audit${path}`, need: "admin" }) as const,
  ),
  { route: "GET /v1/console/sessions", need: "any", needsKey: true },
  { route: "GET /v1/keys/:key", need: "admin", path: ({ key }) => `/v1/keys/${key}` },
  { route: "DELETE /v1/keys/:key", need: "admin", path: ({ key }) => `/v1/keys/${key}` },
  { route: "GET /v1/nodes", need: "admin" },
  { route: "GET /v1/environments", ...OF_LOGIN_MANAGERS },
  { route: "GET /v1/environments/:environment", ...OF_LOGIN_MANAGERS, path: ENVIRONMENT },
  {
    route: "PUT /v1/environments/:environment",
    ...OF_LOGIN_MANAGERS,
    path: ENVIRONMENT,
    body: ({ number }) => ({ codes: number % 2 === 0 ? "raw" : "relay" }),
  },
  {
    route: "PUT /v1/environments/:environment",
    need: "admin",
    path: ENVIRONMENT,
    body: () => ({ production: true }),
  },
  {
    route: "DELETE /v1/environments/:environment",
    need: "admin",
    path: ENVIRONMENT,
  },
  {
    route: "GET /v1/apps/:app/call",
    ...{ need: "api:call", needsKey: true, path: () => CALL },
    query: () => ({ path: "/cgi-bin/getcallbackip" }),
  },
  {
    route: "POST /v1/apps/:app/call",
    ...{ need: "api:call", needsKey: true, path: () => CALL },
    body: () => ({ method: "GET", path: "/cgi-bin/getcallbackip" }),
  },
  { route: "GET /v1/settings", need: "admin" },
  { route: "PATCH /v1/settings", need: "admin", body: () => ({}) },
  { route: "GET /v1/settings/anonymous-callers", need: "admin" },
  { route: "GET /v1/settings/configuration", need: "admin" },
  { route: "GET /v1/alarms", need: "admin", alsoFor: "view" },
  { route: "GET /v1/notifications", need: "admin" },
  { route: "GET /v1/notifications/conditions", need: "admin" },
  {
    route: "PATCH /v1/notifications/conditions",
    need: "admin",
    body: ({ number }) => ({ wrong_keys: { threshold: 100 + number } }),
  },
  { route: "GET /v1/notifications/channels", need: "admin" },
  {
    route: "POST /v1/notifications/channels",
    need: "admin",
    body: ({ number }) => ({ channel: `new-${number}`, kind: "webhook", url: "https://alarms.example.com/" }),
  },
  { route: "GET /v1/notifications/channels/:channel", need: "admin", path: CHANNEL },
  {
    route: "PATCH /v1/notifications/channels/:channel",
    ...{ need: "admin", path: CHANNEL },
    body: () => ({ min_severity: "critical" }),
  },
  {
    route: "POST /v1/notifications/channels/:channel/test",
    ...{ need: "admin", path: (target) => `${CHANNEL(target)}/test` },
  },
  { route: "DELETE /v1/notifications/channels/:channel", need: "admin", path: CHANNEL },
];

/** The routes that no row asks for, and the rows of no route. */
export function missingRows(routes: readonly Route[]): string[] {
  const listed = new Set(routes.map(({ method, path }) => `${method} ${path}`));
  const asked = new Set([...ROWS.map(({ route }) => route), ...OPEN]);
  return [...listed.symmetricDifference(asked)];
}
