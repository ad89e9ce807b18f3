import type { AuditActor, Identity } from "../audit/audit-entry.ts";
import { type Platform, ServiceError } from "../errors.ts";
import { type ApiPolicy, familyPattern } from "./api-policy.ts";
import type { KnownKey } from "./client-directory.ts";
import type { Origin } from "./origin.ts";

/** A client, by an API key of its own, or by a virtual token that was issued for that key. */
export type ClientPrincipal = KnownKey;

/** A caller that is no client. */
export interface OtherPrincipal {
  readonly kind:
    | "unidentified"
    /** Without key and secret, from a trusted network. */
    | "anonymous"
    /** The command line on this machine, which holds the database and its key. */
    | "local"
    /** By the app's own secret. */
    | "secret_holder"
    /** By a real access token of ours, which names no client. */
    | "bearer";
  readonly identity: Identity;
}

/** Who is calling. Immutable: what happens to the request is returned by its handler. */
export type Principal = ClientPrincipal | OtherPrincipal;

/** A caller that showed nothing, or nothing that is valid. */
export const UNIDENTIFIED: Principal = { kind: "unidentified", identity: { client: "", environment: "" } };
/** A caller without key and secret that is answered. */
export const ANONYMOUS: Principal = other("anonymous", "(anonymous)");
/** The command line on this machine. */
export const LOCAL: Principal = other("local", "(command line)");
/** A caller that brought the app's own secret. */
export const APP_SECRET_HOLDER: Principal = other("secret_holder", "(app secret)");

/** A caller whose name in the audit is `client`. */
export function other(kind: OtherPrincipal["kind"], client: string): Principal {
  return { kind, identity: { client, environment: "" } };
}

/** Who is calling and from where: all that decides what a request may do. */
export interface Caller {
  readonly principal: Principal;
  readonly origin: Origin;
  readonly traceId: string;
  /** The trace of its own that the request says it is a part of, 32 hex digits: a word of a caller that may be anybody. */
  readonly parentTraceId?: string | undefined;
}

/** The actor of a request, for the audit. */
export function actorOf(
  { identity }: Pick<Principal, "identity">,
  caller: Pick<Caller, "origin" | "traceId" | "parentTraceId">,
): AuditActor {
  const { origin, traceId } = caller;
  const parentTraceId = isClient(identity) ? caller.parentTraceId : undefined;
  return { ...identity, address: origin.address, traceId, ...(parentTraceId && { parentTraceId }) };
}

/** Whether it is the name of a client, by a key or a session, and of no other caller. */
export function isClient({ client }: Pick<Identity, "client">): boolean {
  return client !== "" && !client.startsWith("(");
}

/**
 * What counts as one caller, as for repeating a user's code: a client wherever it calls from, any other caller by its
 * address.
 */
export function callerKey(principal: Principal, origin: Origin): string {
  return principal.kind === "client" ? `client ${principal.owner.client.name}` : origin.address;
}

/** `error` as a denial: it refuses the caller for who it is, not for what it sent. `app` is the name of one that we hold. */
export function denied(
  { identity: { client } }: Pick<Principal, "identity">,
  error: ServiceError,
  app?: string,
): ServiceError {
  return error.with({ deniedTo: client, ...(app === undefined ? {} : { about: { client, app } }) });
}

/** No key or secret, or one that is not valid. */
export function unauthorized(chinese: string, english: string): ServiceError {
  return new ServiceError("unauthorized", `${chinese} (${english})`);
}

/** The caller is known and may not have this. */
export function forbidden(chinese: string, english: string): ServiceError {
  return new ServiceError("forbidden", `禁止访问：${chinese} (${english})`);
}

/** A client whose policy refuses the path. */
export function notAllowedByPolicy({ preset }: ApiPolicy, path: string): ServiceError {
  const family = familyPattern(path);
  return forbidden(
    `该客户端的接口策略（${preset}）不允许调用 ${family}，可由管理员修改策略`,
    `the client's policy (${preset}) does not allow ${family}; an administrator can change it`,
  ).with({ logged: `the client's policy (${preset}) does not allow this path` });
}

/** A file of the repository: who is not answered could not open a link of ours. */
const WHO_IS_ANSWERED = "谁可以调用，见文档 docs/zh/access.md (docs/access.md says who is answered)";

/** A caller without a key outside the trusted networks; `reason` says what is wrong, in both languages. */
export function untrusted(reason: string): ServiceError {
  return new ServiceError("forbidden", `禁止访问：${reason}`, { hint: WHO_IS_ANSWERED });
}

/** A caller without a key where one is needed. */
export function keyMissing(): ServiceError {
  return unauthorized(
    "缺少API密钥",
    "no API key: send it as Authorization: Bearer, X-API-Key or secret",
  ).with({
    hint: WHO_IS_ANSWERED,
  });
}

/** A change by GET that a browser seems to make without a key: any page could have it do so. */
export function browserRefused(): ServiceError {
  return forbidden(
    "浏览器发出的清除请求须带API密钥或secret；程序请去掉浏览器的User-Agent、Accept-Language和Referer，或改用DELETE /v1/apps/<app>/credentials/access_token",
    "a clear by a browser needs an API key or the secret; from a program send no browser's User-Agent, Accept-Language or Referer, or DELETE /v1/apps/<app>/credentials/access_token",
  );
}

/** A caller over its rate limit. */
export function tooMany(chinese: string, english: string, retryAfterMs: number): ServiceError {
  return new ServiceError("rate_limited", `${chinese}，请稍后再试 (${english}; try again later)`, {
    retryAfterMs,
  });
}

/**
 * WeChat's or WeCom's refusal of a wrong secret, without an upstream request.
 *
 * A secret that we don't hold is sent upstream for few callers only: guesses would get our address banned.
 */
export function wrongSecret(platform: Platform): ServiceError {
  const [errcode, errmsg] =
    platform === "wecom" ? [40001, "invalid credential"] : [40125, "invalid appsecret"];
  return new ServiceError("unauthorized", errmsg, {
    wording: { platform, errcode, errmsg },
    hint: "请使用该应用的secret或API密钥 (use the app's secret or an API key)",
  });
}
