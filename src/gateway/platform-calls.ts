import type { Access } from "../access/access.ts";
import { accountsOf, mayUse } from "../access/authenticator.ts";
import { type Caller, denied, forbidden, type Principal } from "../access/principal.ts";
import { rejectDuplicateNames } from "../access/strict-json.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import {
  type App,
  type AppStore,
  isAuthorizer,
  nameOfApp,
  ownSlotOf,
  roleOf,
  type Slot,
} from "../apps/app.ts";
import type { TokenContext } from "../credentials/token-resolver.ts";
import type { VirtualGrants } from "../credentials/virtual-grants.ts";
import { refusalOf, ServiceError } from "../errors.ts";
import { isFields, type ReadAnswer, readFields } from "./answer.ts";
import type { CallBody } from "./call-body.ts";
import { type CallQuery, isStream } from "./forwarder.ts";

/** What `PlatformCalls` works with. */
export interface PlatformCallParts {
  readonly access: Pick<Access, "notGranted">;
  readonly directory: Pick<AppDirectory, "find" | "namesOf">;
  readonly virtualGrants: Pick<VirtualGrants, "issue" | "holder">;
  readonly apps: Pick<AppStore, "findSecret">;
}

/** A call with a platform's token, as its caller sent it. */
export interface PlatformCall {
  readonly caller: Caller;
  readonly path: string;
  readonly query: CallQuery;
}

/**
 * Which calls are about one account, and where each names it. What else it is sent is not looked at upstream, so no other
 * name proves anything; every path that is not here is about several accounts, or about what all of them share.
 */
const ACCOUNT_IN: readonly (readonly [name: string, path: RegExp])[] = [
  ["authorizer_appid", /^\/cgi-bin\/component\/api_(get_authorizer_info|[gs]et_authorizer_option)\/?$/i],
  ["appid", /^\/sns\/oauth2\/component\/refresh_token\/?$/i],
  [
    "auth_corpid",
    /^\/cgi-bin\/service\/((v2\/)?get_auth_info|get_admin_list|contact\/(search|batchsearch|sort))\/?$/i,
  ],
  [
    "corpid",
    /^\/cgi-bin\/(service\/corpid_to_opencorpid|license\/((batch_)?active_account|(batch_)?get_active_info_by_(code|user)|list_actived_account|batch_transfer_license|get_app_license_info))\/?$/i,
  ],
];
/**
 * Calls about nobody's account yet, about the user who has brought a ticket, or whose answer is cut to the accounts of its
 * caller.
 */
const ABOUT_NO_ACCOUNT =
  /^\/(cgi-bin\/(component\/api_(create_preauthcode|get_authorizer_list)|service\/(get_pre_auth_code|set_session_info|get_customized_auth_url|(auth\/)?getuserdetail3rd)|getcallbackip|get_api_domain_ip|callback\/check)|wxa\/gettemplate(draft)?list)\/?$/i;
/** Where WeCom takes a permanent code beside a token. */
const TAKES_CODE = /^\/cgi-bin\/service\/(v2\/)?get_auth_info\/?$/i;
/** Where answers have refresh tokens. */
const HAS_GRANTS = /^\/cgi-bin\/component\/api_get_authorizer_(list|info)\/?$/i;
/** The largest of these answers: 500 accounts of some hundred bytes each. */
const MAX_BYTES = 1 << 20;

type Fields = Record<string, unknown>;

/**
 * What is different about calls with the token of a third-party platform: each is about one of many accounts, of which the
 * caller may be granted some, and refresh tokens and permanent codes must neither come in nor go out.
 */
export class PlatformCalls {
  readonly #parts: PlatformCallParts;

  constructor(parts: PlatformCallParts) {
    this.#parts = parts;
  }

  /**
   * The body as it goes up: the same, but for a virtual permanent code in it.
   *
   * @throws {ServiceError} `forbidden` for a call about an account that the caller is not granted; WeCom's own refusal of a
   *   code that is none of that corp's.
   */
  async bodyUp({ slot }: TokenContext, call: PlatformCall, body: CallBody): Promise<CallBody> {
    if (!slot || !(roleOf(slot) || isAuthorizer(slot))) return body;
    const fields = body && !isStream(body) ? fieldsOf(body) : undefined;
    this.#checkAccounts(slot, call, body, fields);
    if (!fields || roleOf(slot) !== "suite" || !TAKES_CODE.test(call.path)) return body;
    const { auth_corpid: corp, permanent_code: given } = fields;
    const app = this.#parts.directory.find(`${String(corp)}_${slot.appId}`);
    const holder =
      app && typeof given === "string" && (await this.#parts.virtualGrants.holder(call.caller, app, given));
    const real = holder ? await this.#parts.apps.findSecret(ownSlotOf(app)) : undefined;
    if (!real) throw denied(call.caller.principal, refusalOf("wecom", 40084, "invalid permanent_code"));
    return Buffer.from(JSON.stringify({ ...fields, permanent_code: real.secret.reveal() }));
  }

  /**
   * The answer as its caller may see it: with virtual refresh tokens, and without accounts that it is not granted.
   *
   * @throws {ServiceError} `upstream_invalid` for an answer that can't be read.
   */
  async answerDown({ slot, principal }: TokenContext, path: string, sent: ReadAnswer): Promise<ReadAnswer> {
    if (!slot || roleOf(slot) !== "component" || !HAS_GRANTS.test(path)) return sent;
    const bytes = sent.bytes ?? (await readWhole(sent.answer.body));
    const fields = bytes && readFields(new TextDecoder().decode(bytes));
    if (!fields) throw unreadable();
    const seen = JSON.stringify(this.#visible(slot, principal, fields));
    const headers = new Headers(sent.answer.headers);
    headers.delete("content-length");
    return { ...sent, answer: { ...sent.answer, headers }, bytes: Buffer.from(seen) };
  }

  #checkAccounts(
    slot: Slot,
    { caller: { principal }, path, query }: PlatformCall,
    body: CallBody,
    fields: Fields | undefined,
  ): void {
    if (principal.kind !== "client") return;
    if (isAuthorizer(slot)) {
      const { authorizer_appid: other = slot.appId } = fields ?? {};
      if (other !== slot.appId) throw this.#parts.access.notGranted(principal, "api:call");
      return;
    }
    if (mayUse(principal, "api:call", accountsOf(slot.appId)) || ABOUT_NO_ACCOUNT.test(path)) return;
    const isReadable = body === undefined || fields || (!isStream(body) && body.byteLength === 0);
    const name = ACCOUNT_IN.find(([, of]) => of.test(path))?.[0];
    if (name === undefined || !isReadable) throw denied(principal, someAccountsAlone(slot));
    // One that is sent twice may be read in two ways.
    const given = [fields?.[name], query.count(name) > 1 ? "" : query.get(name)];
    const named = given.filter((account) => account !== undefined);
    if (named.length === 0 || !named.every((account) => this.#mayCallFor(principal, slot, account)))
      throw this.#parts.access.notGranted(principal, "api:call", slot.appId);
  }

  /** A provider's token is for the corps of each of its suites. */
  #mayCallFor(principal: Principal, slot: Slot, account: unknown): boolean {
    if (typeof account !== "string") return false;
    const isGranted = (name: string) => mayUse(principal, "api:call", name);
    if (roleOf(slot) !== "provider") return isGranted(`${account}_${slot.appId}`);
    const { directory } = this.#parts;
    const isOf = (name: string) => {
      const suite = directory.find(name)?.authorization?.platformApp;
      return suite !== undefined && directory.find(suite)?.provider === slot.appId;
    };
    return directory.namesOf("wecom", account).some((name) => isOf(name) && isGranted(name));
  }

  /** `fields` with virtual refresh tokens, and of lists the entries alone of accounts that the caller may use. */
  #visible(platform: Slot, principal: Principal, fields: Fields): Fields {
    const seen: Fields = {};
    const account = fields["authorizer_appid"];
    for (const [name, value] of Object.entries(fields)) {
      if (/refresh_token$/.test(name)) seen[name] = this.#grant(platform, principal, account, value);
      else if (Array.isArray(value)) {
        const own = value.filter((each) => !isFields(each) || this.#isOwn(platform, principal, each));
        seen[name] = own.map((each) => (isFields(each) ? this.#visible(platform, principal, each) : each));
      } else seen[name] = isFields(value) ? this.#visible(platform, principal, value) : value;
    }
    return seen;
  }

  #isOwn({ appId }: Slot, principal: Principal, { authorizer_appid: account }: Fields): boolean {
    return typeof account !== "string" || mayUse(principal, "token:read", `${account}_${appId}`);
  }

  /** Undefined, and so left out, for an account that we don't have yet; an empty one stays so. */
  #grant({ appId }: Slot, principal: Principal, account: unknown, value: unknown): string | undefined {
    if (value === "") return "";
    if (typeof account !== "string") return undefined;
    const name = `${account}_${appId}`;
    const app: App | undefined = this.#parts.directory.find(name);
    if (!app || nameOfApp(app) !== name || !mayUse(principal, "token:read", name)) return undefined;
    return this.#parts.virtualGrants.issue(principal, app).reveal();
  }
}

/** The fields of a body; undefined for one that is no JSON object, or whose names are not unique. */
function fieldsOf(body: Uint8Array): Fields | undefined {
  const text = new TextDecoder().decode(body);
  try {
    rejectDuplicateNames(text);
    const value: unknown = JSON.parse(text);
    return isFields(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

async function readWhole(body: ReadAnswer["answer"]["body"]): Promise<Uint8Array | undefined> {
  if (body === null || body instanceof Uint8Array) return body ?? undefined;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > MAX_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function someAccountsAlone({ appId }: Slot): ServiceError {
  return forbidden(
    `该客户端只能用于平台的部分账号：只能调用以JSON指明其中一个账号的接口；其他接口需要 ${accountsOf(appId)} 的权限`,
    `this client is granted some accounts of the platform alone: it may call what names one of them, in a JSON body; for other paths grant it ${accountsOf(appId)}`,
  );
}

function unreadable(): ServiceError {
  return new ServiceError(
    "upstream_invalid",
    "微信的应答无法读取，未转交 (WeChat's answer can't be read, and was not passed on)",
    { mayHaveRun: true },
  );
}
