import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import type { AppStore, Slot, SlotName } from "../apps/app.ts";
import type { IssuedCredential } from "../credentials/credential.ts";
import { tokenKindOf } from "../credentials/kinds.ts";
import { type CredentialSource, type TokenKeeper, withToken } from "../credentials/source.ts";
import { ServiceError } from "../errors.ts";
import type { AuthorizedAccount, PlatformProtocol } from "../platforms/platform-protocol.ts";
import { Secret } from "../secret.ts";
import { type HttpClient, unusableAnswer, type UpstreamAnswer, type UpstreamRequest } from "./http-client.ts";
import { askWithSecret, readIssued } from "./token-sources.ts";

/**
 * Tokens of suites (third-party apps, and templates of agency apps), which need the ticket that WeCom pushes. WeCom repeats
 * the same token until it expires, and says no errcode on success.
 *
 * https://developer.work.weixin.qq.com/document/path/97162
 */
export function suiteTokenSource(http: HttpClient, tokens: Pick<TokenKeeper, "get">): CredentialSource {
  return {
    obtain: async ({ slot }, { signal }) => {
      const ticket = await tokens.get({ slot, kind: "suite_ticket" });
      const answer = await http.call({
        platform: "wecom",
        appId: slot.appId,
        path: "/cgi-bin/service/get_suite_token",
        body: {
          suite_id: slot.appId,
          suite_secret: slot.secret.reveal(),
          suite_ticket: ticket.value.reveal(),
        },
        takes: "takes_secret",
        repeatable: true,
        signal,
      });
      return readIssued("wecom", "suite_access_token", answer);
    },
  };
}

/**
 * Tokens of service providers (服务商). WeCom repeats the same token until it expires.
 *
 * https://developer.work.weixin.qq.com/document/path/96237
 */
export function providerTokenSource(http: HttpClient): CredentialSource {
  return {
    obtain: async ({ slot }, { signal }) => {
      const answer = await http.call({
        platform: "wecom",
        appId: slot.appId,
        path: "/cgi-bin/service/get_provider_token",
        body: { corpid: slot.appId, provider_secret: slot.secret.reveal() },
        takes: "takes_secret",
        repeatable: true,
        signal,
      });
      return readIssued("wecom", "provider_access_token", answer);
    },
  };
}

/** What the tokens of corps need. */
export interface CorpTokenParts {
  readonly http: HttpClient;
  readonly tokens: TokenKeeper;
  /** Where the permanent codes are. */
  readonly secrets: Pick<AppStore, "findSecret">;
  /** The slot of a suite; undefined for one that is unknown or disabled. */
  readonly suiteOf: (suiteId: string) => Slot | undefined;
  /** Called when WeCom says that the corp's authorisation has ended. */
  readonly lose: (slot: Slot, why: ServiceError) => Promise<void>;
}

/**
 * Access tokens of the corps that have installed a suite, by their permanent codes. An agency app is a corp's own
 * application, and its permanent code that application's secret: `get_corp_token` is not for it.
 *
 * https://developer.work.weixin.qq.com/document/path/90605 and https://developer.work.weixin.qq.com/document/path/97164
 */
export function corpTokenSource(parts: CorpTokenParts): CredentialSource {
  const { http, secrets, lose } = parts;
  return {
    obtain: async ({ slot }, { signal }) => {
      // What the slot has may be older.
      const code = await secrets.findSecret(slot);
      if (!code) throw gone();
      try {
        return await (isTemplate(slot.name)
          ? askWithSecret(http, slot.appId, code.secret, signal)
          : corpToken(parts, slot, code.secret, signal));
      } catch (error) {
        if (!(error instanceof ServiceError) || !error.upstream) throw error;
        // What WeCom says of a code that was replaced meanwhile says nothing of the new one.
        if ((await secrets.findSecret(slot))?.version !== code.version)
          throw error.with({ pacing: "handled" });
        if (LOST.has(error.upstream.errcode)) await lose(slot, error);
        throw error;
      }
    },
  };
}

async function corpToken(
  { http, tokens, suiteOf }: CorpTokenParts,
  slot: Slot,
  code: Secret,
  signal: AbortSignal,
): Promise<IssuedCredential> {
  const suite = suiteOf(slot.name);
  if (!suite) throw noSuite();
  const path = "/cgi-bin/service/get_corp_token";
  const body = corpOf(slot.appId, code);
  const { answer } = await ask(http, tokens, suite, { path, body, repeatable: true, signal });
  return readIssued("wecom", "access_token", answer);
}

/** What says that a corp's permanent code is good for nothing any more. */
const LOST: ReadonlySet<number> = new Set([40084, 48004]);

/** How long a code may take to be exchanged, which works once: an answer that is lost ends the installation. */
const EXCHANGE_MS = 15_000;

const PERMANENT_CODE = Type.Object({
  permanent_code: Type.String({ pattern: "^[\\x21-\\x7e]{1,512}$" }),
});
const CORP = Type.Object({
  auth_corp_info: Type.Object({
    corpid: Type.String({ pattern: "^[\\w-]{1,64}$" }),
    corp_name: Type.Optional(Type.String()),
  }),
});
const AGENTS = Type.Object({
  auth_info: Type.Object({ agent: Type.Array(Type.Object({ agentid: Type.Integer() }), { minItems: 1 }) }),
});

/**
 * What a suite asks with its token.
 *
 * https://developer.work.weixin.qq.com/document/path/100776, of templates https://developer.work.weixin.qq.com/document/path/97163,
 * and https://developer.work.weixin.qq.com/document/path/100795
 */
export function suiteProtocol(http: HttpClient, tokens: TokenKeeper): PlatformProtocol {
  return {
    exchange: async (suite, code, signal) => {
      // Of a third-party app the first form is slow, because it comes with a token; of a template there is no other.
      const version = isTemplate(suite.appId) ? "" : "v2/";
      const { answer, text } = await ask(http, tokens, suite, {
        path: `/cgi-bin/service/${version}get_permanent_code`,
        body: { auth_code: code.reveal() },
        repeatable: false,
        attemptMs: EXCHANGE_MS,
        signal,
      });
      const { permanent_code } = checked(PERMANENT_CODE, answer);
      return { ...readCorp(answer), secret: new Secret(permanent_code), token: undefined, text };
    },
    describe: async (suite, account, secret, signal) => {
      const { answer } = await ask(http, tokens, suite, {
        path: "/cgi-bin/service/get_auth_info",
        body: corpOf(account, secret),
        repeatable: true,
        signal,
      });
      return { ...readCorp(answer), secret };
    },
    list: () => Promise.resolve(undefined),
  };
}

/** A corp, as every answer about one has it: the agents are not in each of them. */
function readCorp(answer: Record<string, unknown>): Omit<AuthorizedAccount, "secret"> {
  const { corpid, corp_name } = checked(CORP, answer).auth_corp_info;
  const agentId = Value.Check(AGENTS, answer) ? answer.auth_info.agent[0]?.agentid : undefined;
  return {
    account: corpid,
    title: corp_name || undefined,
    facts: agentId === undefined ? {} : { agentId: String(agentId) },
  };
}

/** What a link to the page on which a corp installs a third-party app says. */
export interface InstallRequest {
  /** Where the person comes back to, with `auth_code` and `state`. */
  readonly redirectUri: string;
  /** `[A-Za-z0-9]`, at most 128. */
  readonly state: string;
  /** Whether the suite is not published yet. */
  readonly isTest: boolean;
}

/**
 * The page on which a corp installs a third-party app, with a code of its own: one for each click. `origin` is where WeCom's
 * pages are.
 *
 * https://developer.work.weixin.qq.com/document/path/90601 and https://developer.work.weixin.qq.com/document/path/90602
 */
export async function createInstallUrl(
  http: HttpClient,
  tokens: TokenKeeper,
  suite: Slot,
  { redirectUri, state, isTest }: InstallRequest,
  { origin, signal }: { readonly origin: string; readonly signal: AbortSignal },
): Promise<string> {
  const path = "/cgi-bin/service/get_pre_auth_code";
  const { answer } = await ask(http, tokens, suite, { path, repeatable: true, signal });
  const { pre_auth_code } = checked(PRE_AUTH_CODE, answer);
  if (isTest)
    await ask(http, tokens, suite, {
      path: "/cgi-bin/service/set_session_info",
      body: { pre_auth_code, session_info: { appid: [], auth_type: 1 } },
      repeatable: true,
      signal,
    });
  const query = { suite_id: suite.appId, pre_auth_code, redirect_uri: redirectUri, state };
  return `${origin}/3rdapp/install?${new URLSearchParams(query).toString()}`;
}

const PRE_AUTH_CODE = Type.Object({ pre_auth_code: Type.String({ pattern: "^[\\x21-\\x7e]{1,512}$" }) });

/**
 * The page on which a corp orders agency apps, by the provider's token. It is valid for `lifeMs` from now, ten days, and
 * comes back by a push alone.
 *
 * https://developer.work.weixin.qq.com/document/path/98744
 */
export async function createAgencyUrl(
  http: HttpClient,
  tokens: TokenKeeper,
  provider: Slot,
  { state, templates }: { readonly state: string; readonly templates: readonly string[] },
  signal: AbortSignal,
): Promise<{ readonly url: string; readonly lifeMs: number }> {
  const { answer } = await ask(http, tokens, provider, {
    path: "/cgi-bin/service/get_customized_auth_url",
    body: { state, templateid_list: templates },
    repeatable: true,
    signal,
  });
  const { qrcode_url: url, expires_in: seconds } = checked(AGENCY_URL, answer);
  return { url, lifeMs: seconds * 1000 };
}

const AGENCY_URL = Type.Object({
  qrcode_url: Type.String({ pattern: "^https?://[\\x21-\\x7e]{1,2048}$" }),
  expires_in: Type.Integer({ minimum: 1 }),
});

/**
 * Asks with the token of a suite or a provider. Now and then WeCom refuses one that it has just issued: it is asked for
 * again, and the same one is tried once more.
 */
function ask(
  http: HttpClient,
  tokens: TokenKeeper,
  platform: Slot,
  request: Pick<UpstreamRequest, "path" | "body" | "repeatable" | "attemptMs"> & {
    readonly signal: AbortSignal;
  },
): Promise<UpstreamAnswer> {
  const exchange = (token: Secret) =>
    http.exchange({
      ...request,
      platform: "wecom",
      appId: platform.appId,
      query: { [tokenKindOf(platform)]: token.reveal() },
      takes: "takes_token",
    });
  return withToken(tokens, platform, exchange, { signal: request.signal, triesValidAgain: true });
}

function checked<T extends TSchema>(shape: T, answer: Record<string, unknown>): Static<T> {
  if (Value.Check(shape, answer)) return answer;
  throw unusableAnswer("wecom");
}

function corpOf(corpId: string, permanentCode: Secret) {
  return { auth_corpid: corpId, permanent_code: permanentCode.reveal() };
}

/** Whether it is a template of agency apps (代开发). */
function isTemplate(suiteId: SlotName["name"]): boolean {
  return suiteId.startsWith("dk");
}

function gone(): ServiceError {
  return new ServiceError(
    "unavailable",
    "该应用刚被修改、停用或删除，请重试 (the app was just changed, disabled or removed; try again)",
    { retryAfterMs: 1000 },
  );
}

function noSuite(): ServiceError {
  return new ServiceError(
    "unavailable",
    "该企业安装的第三方应用未登记或已停用，请在平台中查看 (the suite that the corp has installed is not registered or is disabled: see the platforms)",
    { retryAfterMs: 60_000 },
  );
}
