import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import type { AppDirectory } from "../apps/app-directory.ts";
import { type AppStore, isAgency, type Slot } from "../apps/app.ts";
import { unavailable } from "../credentials/backoff.ts";
import type { IssuedCredential } from "../credentials/credential.ts";
import { tokenKindOf } from "../credentials/kinds.ts";
import { type CredentialSource, type TokenKeeper, withToken } from "../credentials/source.ts";
import { type AuthorizedAccount, isLost, type PlatformProtocol } from "../platforms/platform-protocol.ts";
import { platformOf } from "../platforms/platform-sources.ts";
import { Secret } from "../secret.ts";
import { type HttpClient, unusableAnswer, type UpstreamAnswer, type UpstreamRequest } from "./http-client.ts";
import { askWithSecret, readIssued } from "./token-sources.ts";

const RETRY_MS = 1000;

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

/** What the tokens of corps are obtained with. */
export interface CorpTokenParts {
  readonly http: HttpClient;
  readonly tokens: TokenKeeper;
  readonly directory: Pick<AppDirectory, "slotNamed">;
  readonly store: Pick<AppStore, "findSecret">;
  /** WeCom has refused the authorization for good: it is closed where WeCom says so once more. */
  readonly confirmLost: (slot: Slot, signal: AbortSignal) => Promise<void>;
}

/**
 * Access tokens of the corps that have installed a suite, by their permanent codes. An agency app is a corp's own
 * application, and its permanent code that application's secret: `get_corp_token` is not for it.
 *
 * https://developer.work.weixin.qq.com/document/path/90605 and https://developer.work.weixin.qq.com/document/path/97164
 */
export function corpTokenSource(parts: CorpTokenParts): CredentialSource {
  const { http, store, confirmLost } = parts;
  return {
    obtain: async ({ slot }, { signal }) => {
      // What the slot has may be older.
      const code = await store.findSecret(slot);
      if (!code) throw unavailable("该授权刚被取消 (the authorization was withdrawn just now)", RETRY_MS);
      try {
        return await (isAgency(slot.name)
          ? askWithSecret(http, slot.appId, code.secret, signal)
          : corpToken(parts, slot, code.secret, signal));
      } catch (error) {
        if (isLost(error)) await confirmLost(slot, signal).catch(() => undefined);
        throw error;
      }
    },
  };
}

async function corpToken(
  { http, tokens, directory }: CorpTokenParts,
  slot: Slot,
  code: Secret,
  signal: AbortSignal,
): Promise<IssuedCredential> {
  const { answer } = await ask(http, tokens, platformOf(directory, slot), {
    path: "/cgi-bin/service/get_corp_token",
    body: corpOf(slot.appId, code),
    repeatable: true,
    signal,
  });
  return readIssued("wecom", "access_token", answer);
}

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
    tellsSecret: false,
    exchange: async (suite, code, signal) => {
      // Of a third-party app the first form is slow, because it comes with a token; of a template there is no other.
      const version = isAgency(suite.appId) ? "" : "v2/";
      const { answer, text } = await ask(http, tokens, suite, {
        path: `/cgi-bin/service/${version}get_permanent_code`,
        body: { auth_code: code.reveal() },
        repeatable: false,
        attemptMs: EXCHANGE_MS,
        signal,
      });
      const secret = new Secret(checked(PERMANENT_CODE, answer).permanent_code);
      const corp = readCorp(answer);
      // Where the agent is missing, the corp is read again for both: the code is stored first, because it is good for nothing more.
      const title = corp.facts.agentId === undefined ? undefined : corp.title;
      return { ...corp, title, secret, token: undefined, text };
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

/** What the page on which a corp installs a third-party app is told. */
export interface InstallRequest {
  /** The origin of WeCom's pages. */
  readonly origin: string;
  /** Where the person comes back to, with `auth_code` and `state`. */
  readonly redirectUri: string;
  /** `[A-Za-z0-9]`, at most 128. */
  readonly state: string;
  /** Whether the suite is not published yet. */
  readonly isTest: boolean;
}

/** What the page on which a corp orders agency apps is told. */
export interface AgencyRequest {
  /** `[A-Za-z0-9]`, at most 32. */
  readonly state: string;
  /** The ids of the templates, nine at most. */
  readonly templates: readonly string[];
}

const PRE_AUTH_CODE = Type.Object({ pre_auth_code: Type.String({ pattern: "^[\\x21-\\x7e]{1,512}$" }) });
const AGENCY_URL = Type.Object({
  qrcode_url: Type.String({ pattern: "^https?://[\\x21-\\x7e]{1,2048}$" }),
  expires_in: Type.Integer({ minimum: 1 }),
});

/** The pages of WeCom's on which a corp's administrator authorizes a provider. */
export function suiteLinks(http: HttpClient, tokens: TokenKeeper) {
  return {
    /**
     * The page for a suite, with a code of its own: one for each visit.
     *
     * https://developer.work.weixin.qq.com/document/path/90601 and https://developer.work.weixin.qq.com/document/path/90602
     */
    installUrl: async (suite: Slot, request: InstallRequest, signal: AbortSignal): Promise<string> => {
      const { origin, redirectUri, state, isTest } = request;
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
    },
    /**
     * The page for templates of agency apps, by the provider's token. It is good for `lifeMs` from now, and who agrees there
     * is told by a push alone.
     *
     * https://developer.work.weixin.qq.com/document/path/98744
     */
    agencyUrl: async (
      provider: Slot,
      { state, templates }: AgencyRequest,
      signal: AbortSignal,
    ): Promise<{ readonly url: string; readonly lifeMs: number }> => {
      const { answer } = await ask(http, tokens, provider, {
        path: "/cgi-bin/service/get_customized_auth_url",
        body: { state, templateid_list: templates },
        repeatable: true,
        signal,
      });
      const { qrcode_url: url, expires_in: seconds } = checked(AGENCY_URL, answer);
      return { url, lifeMs: seconds * 1000 };
    },
  };
}

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
