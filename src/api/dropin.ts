import type { Action } from "../access/client.ts";
import type { PlatformRole, Slot } from "../apps/app.ts";
import type { TokenContext } from "../credentials/token-resolver.ts";
import type { Platform } from "../errors.ts";
import type { Reply } from "./face.ts";
import type { WechatRequest } from "./wechat-request.ts";

/** The context of an access token whose secret we hold. */
export type HeldSlot = TokenContext & { readonly slot: Slot };

/** An endpoint that takes an access token. */
export type TokenEndpoint = (request: WechatRequest, held: HeldSlot, action: Action) => Promise<Reply>;

/** An endpoint that takes an app's secret, or an API key in its place. */
export type SecretEndpoint = (request: WechatRequest, action: Action) => Reply | Promise<Reply>;

/** An endpoint of WeChat's or WeCom's own that we answer ourselves. */
export interface Dropin<Endpoint> {
  readonly platform: Platform;
  /** Of which third-party platform it takes the token; undefined for an app's. */
  readonly role?: PlatformRole;
  readonly methods: readonly ("GET" | "POST")[];
  /** What a caller must be granted. */
  readonly action: Action;
  readonly answer: Endpoint;
}

/** Every drop-in endpoint. */
export interface DropinEndpoints {
  /** Those that take an app's secret, by path. */
  readonly secret: ReadonlyMap<string, Dropin<SecretEndpoint>>;
  /** Those that take an access token, by platform and path: the token says which one is meant. */
  readonly token: Readonly<Record<Platform, ReadonlyMap<string, Dropin<TokenEndpoint>>>>;
}

/** The drop-in endpoints as a list of routes. */
export function dropinRoutes({ secret, token }: DropinEndpoints): { method: string; path: string }[] {
  return [...secret, ...token.weixin, ...token.wecom].flatMap(([path, { methods }]) =>
    methods.map((method) => ({ method, path })),
  );
}
