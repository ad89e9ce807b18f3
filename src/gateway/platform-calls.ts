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

/** Under which names a call says whom it is about. */
const ACCOUNT_NAMES = ["authorizer_appid", "auth_corpid", "corpid", "appid"];
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
    { caller: { principal }, query }: PlatformCall,
    body: CallBody,
    fields: Fields | undefined,
  ): void {
    if (principal.kind !== "client") return;
    const isAccount = isAuthorizer(slot);
    if (!isAccount && mayUse(principal, "api:call", accountsOf(slot.appId))) return;
    if (body !== undefined && (isStream(body) || body.byteLength > 0) && !fields) {
      // An account's own calls, as uploads, are about no other.
      if (isAccount) return;
      throw denied(
        principal,
        forbidden(
          "该客户端只能用于平台的部分账号，请求体须为JSON",
          "this client is granted some accounts of the platform alone, so that the body must be JSON",
        ),
      );
    }
    if (isAccount) {
      const { authorizer_appid: other = slot.appId } = fields ?? {};
      if (other !== slot.appId) throw this.#parts.access.notGranted(principal, "api:call");
      return;
    }
    for (const name of ACCOUNT_NAMES)
      // One that is sent twice may be read in two ways.
      for (const account of [fields?.[name], query.count(name) > 1 ? "" : query.get(name)])
        if (account !== undefined && !this.#mayCallFor(principal, slot, account))
          throw this.#parts.access.notGranted(principal, "api:call", slot.appId);
  }

  /** A provider's token is for the corps of each of its suites. */
  #mayCallFor(principal: Principal, slot: Slot, account: unknown): boolean {
    if (typeof account !== "string") return false;
    if (account === slot.appId) return true;
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

function unreadable(): ServiceError {
  return new ServiceError(
    "upstream_invalid",
    "微信的应答无法读取，未转交 (WeChat's answer can't be read, and was not passed on)",
    { mayHaveRun: true },
  );
}
