import type { Platform } from "../errors.ts";
import {
  type LoginEndpointParts,
  miniProgramLoginEndpoint,
  oauthEndpoint,
  wecomMiniProgramEndpoint,
  wecomUserEndpoint,
} from "./login-endpoints.ts";
import {
  type TicketEndpointParts,
  type TokenEndpoint,
  wecomAppTicketEndpoint,
  wecomCorpTicketEndpoint,
  weixinTicketEndpoint,
} from "./ticket-endpoints.ts";
import {
  classicTokenEndpoint,
  type SecretEndpoint,
  stableTokenEndpoint,
  type TokenEndpointParts,
  wecomTokenEndpoint,
} from "./token-endpoints.ts";

/** What the drop-in endpoints work with. */
export type DropinParts = TokenEndpointParts & TicketEndpointParts & LoginEndpointParts;

/** An endpoint of WeChat's or WeCom's own that we answer ourselves. */
interface Dropin<Endpoint> {
  readonly platform: Platform;
  readonly methods: readonly ("GET" | "POST")[];
  readonly answer: Endpoint;
}

/** Every drop-in endpoint. */
export interface DropinEndpoints {
  /** Those that take an app's secret, by path. */
  readonly secret: ReadonlyMap<string, Dropin<SecretEndpoint>>;
  /** Those that take an access token, by platform and path: the token says which one is meant. */
  readonly token: Readonly<Record<Platform, ReadonlyMap<string, Dropin<TokenEndpoint>>>>;
}

/** What is answered here, as a list of routes. */
export function dropinRoutes({ secret, token }: DropinEndpoints): { method: string; path: string }[] {
  return [...secret, ...token.weixin, ...token.wecom].flatMap(([path, { methods }]) =>
    methods.map((method) => ({ method, path })),
  );
}

/** Joins the drop-in endpoints with what they work with. */
export function dropinEndpoints(parts: DropinParts): DropinEndpoints {
  const get = ["GET"] as const;
  const both = ["GET", "POST"] as const;
  const weixin = "weixin";
  const wecom = "wecom";
  return {
    secret: new Map<string, Dropin<SecretEndpoint>>([
      ["/cgi-bin/token", { platform: weixin, methods: both, answer: classicTokenEndpoint(parts) }],
      ["/cgi-bin/stable_token", { platform: weixin, methods: ["POST"], answer: stableTokenEndpoint(parts) }],
      ["/cgi-bin/gettoken", { platform: wecom, methods: get, answer: wecomTokenEndpoint(parts) }],
      ["/sns/jscode2session", { platform: weixin, methods: get, answer: miniProgramLoginEndpoint(parts) }],
      ["/sns/oauth2/access_token", { platform: weixin, methods: get, answer: oauthEndpoint(parts) }],
    ]),
    token: {
      weixin: new Map([
        [
          "/cgi-bin/ticket/getticket",
          { platform: weixin, methods: both, answer: weixinTicketEndpoint(parts) },
        ],
      ]),
      wecom: new Map([
        [
          "/cgi-bin/get_jsapi_ticket",
          { platform: wecom, methods: both, answer: wecomCorpTicketEndpoint(parts) },
        ],
        ["/cgi-bin/ticket/get", { platform: wecom, methods: both, answer: wecomAppTicketEndpoint(parts) }],
        ["/cgi-bin/auth/getuserinfo", { platform: wecom, methods: get, answer: wecomUserEndpoint(parts) }],
        [
          "/cgi-bin/miniprogram/jscode2session",
          { platform: wecom, methods: get, answer: wecomMiniProgramEndpoint(parts) },
        ],
      ]),
    },
  };
}
