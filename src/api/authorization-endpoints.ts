import type { Access } from "../access/access.ts";
import { onBehalf, type Permit } from "../access/permits.ts";
import { mayUse } from "../access/authenticator.ts";
import type { Action } from "../access/client.ts";
import { type Caller, callerKey, denied } from "../access/principal.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import { type App, isAgency, type Slot } from "../apps/app.ts";
import type { VirtualGrants } from "../credentials/virtual-grants.ts";
import type { DeliveredToken, TokenDelivery } from "../credentials/virtual-tokens.ts";
import { type Platform, refusalOf, type ServiceError, unknownToken } from "../errors.ts";
import type { CodeAnswer } from "../platforms/authorization-store.ts";
import { Secret } from "../secret.ts";
import type { HeldSlot, TokenEndpoint } from "./dropin.ts";
import { type Call, Reply } from "./face.ts";
import { secondsLeft, tokenReply } from "./schema.ts";
import { type Parameters, readParameters } from "./wechat-request.ts";

/** Exchanges the codes by which accounts and corps authorize third-party platforms. */
interface AuthorizationExchange {
  /** The answer to a code, which is exchanged once whoever comes with it. Throws WeChat's or WeCom's refusal. */
  exchange(platform: Slot, code: Secret, signal: AbortSignal, caller: string): Promise<CodeAnswer>;
  /** The answer to the platform's code of that digest; undefined where it has none. */
  answerOf(platform: Slot, digest: string): Promise<CodeAnswer | undefined>;
}

/** What the endpoints of codes and of accounts' tokens work with. */
export interface AuthorizationEndpointParts {
  readonly access: Access;
  readonly directory: Pick<AppDirectory, "find" | "findSlot">;
  /** Learns of the apps of all processes now. */
  readonly administration: { refresh(): Promise<void> };
  readonly delivery: TokenDelivery;
  readonly virtualGrants: Pick<VirtualGrants, "issue" | "holder">;
  readonly authorizations: AuthorizationExchange;
}

/** What an id may be; anything else must not be logged as a name. */
const NAME = /^[A-Za-z0-9_-]{1,64}$/;
/** A code that stands for one that we have: its digest. */
const VIRTUAL_CODE = /^(?:queryauthcode@@@|authcode_)([A-Za-z0-9_-]{22})$/;
const CODE = /^[!-~]{1,512}$/;
/** How long an exchange may take. */
const EXCHANGE_MS = 15_000;

/**
 * `POST /cgi-bin/component/api_query_auth`: WeChat's answer to a code, however often it is asked for, or to one of ours in
 * its place; with the token that stands, and a virtual refresh token.
 *
 * https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getauthorizerrefreshtoken.html
 */
export function queryAuthEndpoint(parts: AuthorizationEndpointParts): TokenEndpoint {
  return async (request, held, action) => {
    const parameters = await readParameters(request);
    checkComponent(parameters, held.slot);
    const code = parameters.text("authorization_code");
    if (code === undefined) throw refusalOf("weixin", 40097, "invalid args");
    const { answer, account } = await redeem(parts, request.call, held, action, code);
    const info = answer["authorization_info"] as Record<string, unknown>;
    if (info["authorizer_refresh_token"]) info["authorizer_refresh_token"] = account.grant().reveal();
    if (info["authorizer_access_token"]) {
      const token = await account.token();
      Object.assign(info, { authorizer_access_token: token.value.reveal(), expires_in: secondsLeft(token) });
    }
    return new Reply(answer, account);
  };
}

/**
 * `POST /cgi-bin/service/get_permanent_code`, with the corp's token where it has one, and without it `…/v2/…`: WeCom's
 * answer to a code, as `queryAuthEndpoint`, with a virtual permanent code.
 *
 * https://developer.work.weixin.qq.com/document/path/90603
 * https://developer.work.weixin.qq.com/document/path/100776
 */
export function permanentCodeEndpoint(parts: AuthorizationEndpointParts, hasToken: boolean): TokenEndpoint {
  return async (request, held, action) => {
    const code = (await readParameters(request)).text("auth_code");
    if (code === undefined) throw refusalOf("wecom", 40078, "invalid auth_code");
    const { answer, account } = await redeem(parts, request.call, held, action, code);
    const { access_token: _token, expires_in: _life, auth_info: info, ...alone } = answer;
    if (alone["permanent_code"]) alone["permanent_code"] = account.grant().reveal();
    if (!hasToken) return new Reply(alone, account);
    const agentId = account.app.authorization?.agentId;
    const agents = info ?? (agentId === undefined ? undefined : { agent: [{ agentid: Number(agentId) }] });
    const all = { ...alone, ...(agents ? { auth_info: agents } : {}) };
    if (isAgency(held.slot.appId)) return new Reply(all, account);
    const token = await account.token();
    return new Reply({ access_token: token.value.reveal(), expires_in: secondsLeft(token), ...all }, account);
  };
}

/** An account or a corp as a caller is given it that has redeemed its code. */
interface GivenAccount {
  readonly permit: Permit;
  readonly app: App;
  /** A virtual refresh token or permanent code. */
  grant(): Secret;
  token(): Promise<DeliveredToken>;
}

/** The answer to a code, for a caller that may use the account which gave it. */
async function redeem(
  parts: AuthorizationEndpointParts,
  { origin }: Call,
  held: HeldSlot,
  action: Action,
  code: string,
): Promise<{ readonly answer: Record<string, unknown>; readonly account: GivenAccount }> {
  const { access, directory, administration, delivery, virtualGrants, authorizations } = parts;
  const { principal, slot: platform } = held;
  refuseRejected(held);
  const asked = access.slotOfToken(principal, action, platform);
  if (!CODE.test(code)) throw invalidCode(platform);
  const { app: name, text } = await onBehalf(
    asked,
    exchange(authorizations, platform, code, callerKey(principal, origin)),
  );
  // Another process may have exchanged it.
  if (!directory.find(name)) await administration.refresh();
  const [app, slot] = [directory.find(name), directory.findSlot(name)];
  const answer = JSON.parse(text.reveal()) as Record<string, unknown>;
  // It was withdrawn since.
  if (!app || !slot) throw invalidCode(platform);
  const permit = access.slotOfToken(principal, action, slot);
  const account = {
    permit,
    app,
    grant: () => virtualGrants.issue(principal, app),
    token: () => delivery.get(permit, { slot, kind: "access_token" }),
  };
  return { answer, account };
}

async function exchange(
  authorizations: AuthorizationExchange,
  platform: Slot,
  code: string,
  caller: string,
): Promise<CodeAnswer> {
  const digest = VIRTUAL_CODE.exec(code)?.[1];
  if (digest === undefined)
    return authorizations.exchange(platform, new Secret(code), AbortSignal.timeout(EXCHANGE_MS), caller);
  const known = await authorizations.answerOf(platform, digest);
  if (known) return known;
  throw invalidCode(platform);
}

function invalidCode({ platform }: Slot): ServiceError {
  return platform === "wecom"
    ? refusalOf("wecom", 40078, "invalid auth_code")
    : refusalOf("weixin", 61009, "code is invalid");
}

/** How an account is named where its token is asked for, by what it is proven, and what is said of wrong ones. */
interface AccountForm {
  readonly platform: Platform;
  readonly id: string;
  readonly proof: string;
  readonly refusals: Readonly<
    Record<"noId" | "notAuthorized" | "wrongProof", readonly [errcode: number, errmsg: string]>
  >;
}

/**
 * `POST /cgi-bin/component/api_authorizer_token`: the account's token that stands, for a virtual refresh token.
 *
 * https://developers.weixin.qq.com/doc/oplatform/openApi/ticket-token/api_getauthorizeraccesstoken.html
 */
export function authorizerTokenEndpoint(parts: AuthorizationEndpointParts): TokenEndpoint {
  const form: AccountForm = {
    platform: "weixin",
    id: "authorizer_appid",
    proof: "authorizer_refresh_token",
    refusals: {
      noId: [40013, "invalid appid"],
      notAuthorized: [61003, "component is not authorized by this account"],
      wrongProof: [61023, "refresh_token is invalid"],
    },
  };
  return accountToken(parts, form, (token, grant) => ({
    authorizer_access_token: token.value.reveal(),
    expires_in: secondsLeft(token),
    authorizer_refresh_token: grant.reveal(),
  }));
}

/**
 * `POST /cgi-bin/service/get_corp_token`: the corp's token that stands, for a virtual permanent code; not of agency apps.
 *
 * https://developer.work.weixin.qq.com/document/path/90605
 */
export function corpTokenEndpoint(parts: AuthorizationEndpointParts): TokenEndpoint {
  const form: AccountForm = {
    platform: "wecom",
    id: "auth_corpid",
    proof: "permanent_code",
    refusals: {
      noId: [40013, "invalid corpid"],
      notAuthorized: [40084, "invalid permanent_code"],
      wrongProof: [40084, "invalid permanent_code"],
    },
  };
  return accountToken(parts, form, (token) => ({
    ...{ errcode: 0, errmsg: "ok" },
    access_token: token.value.reveal(),
    expires_in: secondsLeft(token),
  }));
}

function accountToken(
  { access, directory, delivery, virtualGrants }: AuthorizationEndpointParts,
  { platform, id, proof, refusals }: AccountForm,
  toData: (token: DeliveredToken, grant: Secret) => object,
): TokenEndpoint {
  const refuse = (why: keyof typeof refusals) => refusalOf(platform, ...refusals[why]);
  return async (request, held, action) => {
    const parameters = await readParameters(request);
    if (platform === "weixin") checkComponent(parameters, held.slot);
    if (isAgency(held.slot.appId)) throw refusalOf("wecom", 48002, "api forbidden", { code: "forbidden" });
    refuseRejected(held);
    const account = parameters.text(id);
    if (account === undefined || !NAME.test(account)) throw refuse("noId");
    const name = accountName(account, held.slot);
    if (held.principal.kind === "client" && !mayUse(held.principal, action, name))
      throw access.notGranted(held.principal, action, name);
    const [app, slot] = [directory.find(name), directory.findSlot(name)];
    if (!app || !slot || app.authorization?.lostAt !== undefined) throw refuse("notAuthorized");
    const given = parameters.text(proof);
    const caller = { ...callerOf(request.call), principal: held.principal };
    const principal = given === undefined ? undefined : await virtualGrants.holder(caller, app, given);
    if (!principal) throw access.wrong(request.call, denied(held.principal, refuse("wrongProof")));
    const permit = access.slotOfToken(principal, action, slot);
    return tokenReply(delivery, permit, {}, (token) => toData(token, virtualGrants.issue(principal, app)));
  };
}

/** The public name of an account that a platform has. */
export function accountName(account: string, platform: Slot): string {
  return `${account}_${platform.appId}`;
}

/** Refuses a call that names no component, or another than its token's. */
function checkComponent(parameters: Parameters, { appId }: Slot): void {
  const named = parameters.text("component_appid");
  if (named === undefined) throw refusalOf("weixin", 41018, "missing component_appid");
  if (named !== appId) throw refusalOf("weixin", 61011, "invalid component");
}

/** Whoever has a rejected token fetches another first: it must not bring more than it did. */
function refuseRejected({ isRejected, slot }: HeldSlot): void {
  if (isRejected) throw unknownToken(slot.platform);
}

function callerOf({ origin, traceId }: Call): Omit<Caller, "principal"> {
  return { origin, traceId };
}
