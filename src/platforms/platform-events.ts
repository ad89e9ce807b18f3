import type { AppDirectory } from "../apps/app-directory.ts";
import { type App, type PlatformRole, roleOf, type Slot } from "../apps/app.ts";
import { readPushFields, replacePushFields } from "../callbacks/push-fields.ts";
import type { CredentialKind } from "../credentials/kinds.ts";
import type { CredentialManager } from "../credentials/manager.ts";
import { Secret } from "../secret.ts";
import type { Authorizations } from "./authorizations.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** The names of fields that nobody but us may read, at any depth and whatever it is about; matches the last word. */
const SECRET_FIELD = /(?:(?<=auth_?|authorization_?|permanent_?)code|ticket|token|secret)$/i;
/** An installation's code lives ten minutes, and by older texts five. */
const AUTH_CODE_MS = 10 * MINUTE_MS;

/** How a platform's commands are written, and what they bring. */
interface Dialect {
  /** The field that names the platform, and the one with the time in seconds. */
  readonly platformApp: string;
  readonly time: string;
  readonly ticket: {
    readonly infoType: string;
    readonly field: string;
    readonly kind: CredentialKind;
    readonly lifeMs: number;
  };
  /** By InfoType, the fields of a code that is to be exchanged. */
  readonly codes: Readonly<Record<string, CodeFields>>;
  /** By InfoType, the field of an account whose authorization has ended; and of one that is to be read again. */
  readonly ended: Readonly<Record<string, string>>;
  readonly changed: Readonly<Record<string, string>>;
  /** What stands for a code of that digest. */
  readonly virtualCode: (digest: string) => string;
}

interface CodeFields {
  readonly code: string;
  readonly account?: string;
  /** Until when it is good, in seconds; otherwise for `lifeMs`. */
  readonly until?: string;
  readonly lifeMs: number;
}

const AUTHORIZED: CodeFields = {
  ...{ code: "AuthorizationCode", account: "AuthorizerAppid", until: "AuthorizationCodeExpiredTime" },
  lifeMs: HOUR_MS,
};
const INSTALLED: CodeFields = { code: "AuthCode", lifeMs: AUTH_CODE_MS };

/**
 * What each kind of platform is told of.
 *
 * https://developers.weixin.qq.com/doc/oplatform/Third-party_Platforms/2.0/api/Before_Develop/authorize_event.html
 * https://developer.work.weixin.qq.com/document/path/90642
 */
const DIALECTS: Readonly<Partial<Record<PlatformRole, Dialect>>> = {
  component: {
    ...{ platformApp: "AppId", time: "CreateTime" },
    ticket: {
      ...{ infoType: "component_verify_ticket", field: "ComponentVerifyTicket" },
      ...{ kind: "component_verify_ticket", lifeMs: 12 * HOUR_MS },
    },
    codes: {
      authorized: AUTHORIZED,
      updateauthorized: AUTHORIZED,
      // No other event brings the code of an account that was registered for somebody.
      notify_third_fasteregister: { code: "auth_code", account: "appid", lifeMs: HOUR_MS },
    },
    ended: { unauthorized: "AuthorizerAppid" },
    changed: {},
    virtualCode: (digest) => `queryauthcode@@@${digest}`,
  },
  suite: {
    ...{ platformApp: "SuiteId", time: "TimeStamp" },
    ticket: {
      ...{ infoType: "suite_ticket", field: "SuiteTicket" },
      ...{ kind: "suite_ticket", lifeMs: 30 * MINUTE_MS },
    },
    codes: { create_auth: INSTALLED, reset_permanent_code: INSTALLED },
    ended: { cancel_auth: "AuthCorpId" },
    changed: { change_auth: "AuthCorpId" },
    virtualCode: (digest) => `authcode_${digest}`,
  },
};

/** What is done with what a third-party platform is told. */
export interface PlatformEventsParts {
  readonly credentials: Pick<CredentialManager, "accept">;
  readonly authorizations: Pick<Authorizations, "note" | "readAgain" | "end" | "digestOf">;
  readonly directory: Pick<AppDirectory, "find" | "findSlot">;
}

/**
 * Takes what WeChat and WeCom tell third-party platforms: tickets, authorizations and their ends. Each is one durable
 * write, and no call of WeChat's.
 */
export class PlatformEvents {
  readonly #parts: PlatformEventsParts;

  constructor(parts: PlatformEventsParts) {
    this.#parts = parts;
  }

  /**
   * Takes a verified message that was pushed to `platform`. Resolves, once it is durable, with what its targets get: the same
   * message, in which nothing stands that the platform alone may have. The same message again changes nothing.
   *
   * @throws {ServiceError} when it can't be stored: WeChat shall send it again.
   */
  async receive(platform: App, message: Uint8Array, now: number): Promise<Uint8Array> {
    const fields = fieldsOf(message);
    const infoType = fields.get("InfoType");
    if (infoType === undefined) return message;
    const slot = this.#slotOf(platform, fields);
    const role = slot && roleOf(slot);
    const dialect = role && DIALECTS[role];
    const code = slot && dialect && (await this.#take(slot, dialect, infoType, fields, now));
    return replacePushFields(message, (name, text) => {
      const word = SECRET_FIELD.exec(name)?.[0].toLowerCase();
      if (word === undefined) return undefined;
      return text === code?.text ? code.instead : `${word}@@@withheld`;
    });
  }

  /** Whose message it is. A provider is told of its suites. */
  #slotOf({ id, role }: App, fields: Fields): Slot | undefined {
    const { directory } = this.#parts;
    if (role !== "provider") return directory.findSlot(id);
    const suite = directory.find(fields.get("SuiteId") ?? "");
    const isTheirs = suite?.role === "suite" && suite.provider === id && !suite.managed?.isDisabled;
    return isTheirs ? directory.findSlot(suite.id) : undefined;
  }

  /** Does what the message asks for. Gives the code in it that can be exchanged, and what stands for it. */
  async #take(
    slot: Slot,
    dialect: Dialect,
    infoType: string,
    fields: Fields,
    now: number,
  ): Promise<{ readonly text: string; readonly instead: string } | undefined> {
    const { credentials, authorizations } = this.#parts;
    const seconds = Number(fields.get(dialect.time));
    const at = Number.isSafeInteger(seconds) && seconds > 0 ? seconds * 1000 : now;
    // Whose it is is what was signed, and not where it came to.
    const isOurs = (fields.get(dialect.platformApp) ?? slot.appId) === slot.appId;
    if (!isOurs) return undefined;
    const { ticket, codes, ended, changed, virtualCode } = dialect;
    const pushed = infoType === ticket.infoType && fields.get(ticket.field);
    if (pushed) {
      const life = { issuedAt: at, expiresAt: at + ticket.lifeMs };
      await credentials.accept({ slot, kind: ticket.kind }, new Secret(pushed), life);
    }
    const over = fields.get(ended[infoType] ?? "");
    if (over) await authorizations.end(slot, over, at);
    const other = fields.get(changed[infoType] ?? "");
    if (other) await authorizations.readAgain(slot, other, at);
    const names = codes[infoType];
    const text = names && fields.get(names.code);
    // An account could not be registered: nothing came of it.
    if (!text) return undefined;
    const code = new Secret(text);
    const account = fields.get(names.account ?? "");
    const until = Number(fields.get(names.until ?? "") ?? Number.NaN) * 1000;
    const expiresAt = Number.isSafeInteger(until) && until > 0 ? until : at + names.lifeMs;
    await authorizations.note(slot, code, { expiresAt, at, ...(account ? { account } : {}) });
    return { text, instead: virtualCode(authorizations.digestOf(slot, code)) };
  }
}

type Fields = ReadonlyMap<string, string>;

/** The fields of a message; none of one that we can't read. */
function fieldsOf(message: Uint8Array): Fields {
  try {
    return readPushFields(message).fields;
  } catch {
    return new Map();
  }
}
