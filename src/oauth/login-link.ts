import type { App } from "../apps/app.ts";
import { ServiceError } from "../errors.ts";

/** WeChat's and WeCom's pages for web logins. */
export const LOGIN_WAYS = ["authorize", "qrconnect", "sso"] as const;
export type LoginWay = (typeof LOGIN_WAYS)[number];

/**
 * Each page's path, the order in which its parameters are documented, and what a browser is sent there with.
 *
 * https://developers.weixin.qq.com/doc/offiaccount/OA_Web_Apps/Wechat_webpage_authorization.html,
 * https://developers.weixin.qq.com/doc/oplatform/Website_App/WeChat_Login/Wechat_Login.html and
 * https://developer.work.weixin.qq.com/document/path/98152
 */
const PAGES = {
  authorize: {
    path: "/connect/oauth2/authorize",
    order: ["appid", "redirect_uri", "response_type", "scope", "state", "component_appid", "agentid"],
    fragment: "#wechat_redirect",
  },
  qrconnect: {
    path: "/connect/qrconnect",
    order: ["appid", "redirect_uri", "response_type", "scope", "state"],
    fragment: "#wechat_redirect",
  },
  sso: {
    path: "/wwlogin/sso/login",
    order: ["login_type", "appid", "agentid", "redirect_uri", "state"],
    fragment: "",
  },
} as const satisfies Record<LoginWay, unknown>;

/** The path of a page, with WeChat and with us. */
export function loginPath(way: LoginWay): string {
  return PAGES[way].path;
}

/** A query whose parameters each come once. */
export class LoginQuery {
  readonly #raw: ReadonlyMap<string, string>;

  /** @throws {ServiceError} `invalid_parameter` for a parameter that comes twice, or is encoded wrongly. */
  constructor(search: string) {
    const raw = new Map<string, string>();
    for (const pair of search.split("&").filter(Boolean)) {
      const [, name = "", value = ""] = /^([^=]*)=?(.*)$/s.exec(pair) ?? [];
      if (raw.has(name)) throw badQuery();
      raw.set(name, value);
    }
    this.#raw = raw;
  }

  /** The names of the parameters that have a value, in the order in which they came. */
  get names(): readonly string[] {
    return [...this.#raw].flatMap(([name, value]) => (value === "" ? [] : [name]));
  }

  /** As it came; empty where it is missing. */
  raw(name: string): string {
    return this.#raw.get(name) ?? "";
  }

  /** Decoded; empty where it is missing. A `+` stays one: `redirect_uri` is a URL, and the others have no blanks. */
  value(name: string): string {
    try {
      return decodeURIComponent(this.raw(name));
    } catch {
      throw badQuery();
    }
  }
}

function badQuery(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "链接的参数重复或编码有误，请检查生成该链接的程序 (a parameter of the link comes twice or is encoded wrongly: check the program that builds it)",
  );
}

/**
 * WeChat's own page for a login to `app`, with our redirect and our state in the place of those of `query`, and its
 * parameters in the order that WeChat documents. What else was sent is passed on, but no other spelling of those.
 *
 * The app is named as WeChat knows it, however the link did: an account with the component that has it, an agency app by
 * its number in the corp.
 */
export function loginLink(
  way: LoginWay,
  base: string,
  query: LoginQuery,
  ours: { readonly app: App; readonly redirectUri: string; readonly state: string },
): string {
  const { path, order, fragment } = PAGES[way];
  const { platform, id, authorization: { platformApp, agentId } = {} } = ours.app;
  const isOfComponent = platform === "weixin" && platformApp !== undefined;
  const replaced: Readonly<Record<string, string>> = {
    appid: id,
    redirect_uri: ours.redirectUri,
    state: ours.state,
    ...(way === "sso" ? {} : { response_type: "code" }),
    ...(isOfComponent ? { component_appid: platformApp } : {}),
    ...(query.raw("agentid") === "" || agentId === undefined ? {} : { agentid: agentId }),
  };
  const documented: readonly string[] = order;
  const names = [
    ...documented.filter((name) => name in replaced || query.raw(name) !== ""),
    ...query.names.filter((name) => !documented.includes(name.toLowerCase()) && /^\w{1,64}$/.test(name)),
  ];
  const pairs = names.map((name) => `${name}=${encodeURIComponent(replaced[name] ?? query.value(name))}`);
  return `${base}${path}?${pairs.join("&")}${fragment}`;
}

/** What an environment's link asked for: where to return to, and its state as it was in the query. */
export interface LoginRequest {
  readonly redirectUri: string;
  readonly state: string;
}

/**
 * Where the browser returns to: the environment's redirect with the code, if there is one, and its own state; everything
 * else of it as it was. A `code` or `state` in the redirect itself would be read for ours.
 */
export function returnLink({ redirectUri, state }: LoginRequest, code: string | undefined): string {
  const [, beginning = "", query = "", fragment = ""] = /^([^?#]*)(\?[^#]*)?(#.*)?$/s.exec(redirectUri) ?? [];
  const kept = query
    .slice(1)
    .split("&")
    .filter((pair) => pair !== "" && !/^(code|state)(\[|\0|$)/.test(nameIn(pair)));
  const added = [
    ...(code === undefined ? [] : [`code=${encodeURIComponent(code)}`]),
    ...(state === "" ? [] : [`state=${state}`]),
  ];
  const whole = [...kept, ...added].join("&");
  return plainAscii(`${beginning}${whole === "" ? "" : `?${whole}`}${fragment}`);
}

/** The name of a pair as the most lenient of programs reads it. */
function nameIn(pair: string): string {
  const [name = ""] = pair.replaceAll("+", " ").split("=");
  return name
    .replace(/%([0-7][0-9a-f])/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
    .trim();
}

/** Encodes what a header can't carry, and nothing else. */
function plainAscii(url: string): string {
  return url.replace(/[^\x21-\x7e]+/g, (text) => encodeURIComponent(text.toWellFormed()));
}
