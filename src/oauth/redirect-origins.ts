import { type App, isAgency } from "../apps/app.ts";
import type { AuditEntry } from "../audit/audit-entry.ts";
import { type Changes, Mirror } from "../changes.ts";
import { ServiceError } from "../errors.ts";

/** Where web logins may return to: an origin, whose host may begin with one `*.`, and what the path must begin with. */
export interface RedirectOrigin {
  /** As browsers send it. */
  readonly origin: string;
  /** `/` for any path; otherwise without a slash at its end. */
  readonly path: string;
}

/** One of an app's, and the environment that it belongs to. */
export interface OwnedRedirectOrigin extends RedirectOrigin {
  /** The app's public name. */
  readonly app: string;
  readonly environment: string;
}

/** Where redirect origins are kept. A change raises the epoch of `environments`, and the version of its environment. */
export interface RedirectOriginStore {
  /** Every one, by app and environment. */
  loadOrigins(): Promise<readonly OwnedRedirectOrigin[]>;
  /**
   * Puts `origins` in the place of those of an app in an environment. Throws `not_found` without the environment;
   * `conflict` when another one of the app has one of them; `precondition_failed` when `version` is given and another of the
   * environment stands.
   */
  replace(
    owner: Pick<OwnedRedirectOrigin, "app" | "environment">,
    origins: readonly RedirectOrigin[],
    version: number | undefined,
    entry: AuditEntry,
  ): Promise<void>;
}

/**
 * Why links of web logins never name that app, and which one they do; undefined for one that they name. Users of a
 * third-party app of WeCom's log in by the suite, whichever corp they are of, and those of an agency app by the corp.
 */
export function whyNoLogins({ platform, role, authorization, id }: App): string | undefined {
  if (role === "suite" && !isAgency(id)) return undefined;
  if (role)
    return "用户不会登录到第三方平台或服务商本身，请改为账号或企业的应用 (nobody logs in to a platform or a provider itself: name the app of an account or a corp)";
  const suite = authorization?.platformApp ?? "";
  if (!suite || platform === "weixin" || isAgency(suite)) return undefined;
  return `第三方应用的登录链接以suite_id为appid，请改为 ${suite} (links of a third-party app have the suite as their appid: name ${suite})`;
}

/** Scheme, host, port, path, and the rest, as an allowed redirect is written: what a browser would correct is refused. */
const REDIRECT =
  /^(https?:\/\/(?:[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])(?::\d{1,5})?)(\/[^?#]*)?([?#].*)?$/;
/** What some servers take for another path: dots, slashes, backslashes, per cent signs and control characters, encoded. */
const SMUGGLED = /%(?:2[ef5]|5c|[01][0-9a-f]|7f)/i;
/** What countries register names below, behind the label that stands for a wildcard's. */
const OF_MANY_OWNERS = /^x\.(ac|co|com|edu|gov|gob|mil|ne|net|or|org)\.[a-z]{2}$/;
const MAX_LENGTH = 2048;

/** Where a redirect goes, as far as it is checked. */
interface Destination {
  readonly origin: string;
  readonly path: string;
}

/**
 * Where a `redirect_uri` leads; undefined for one that a browser, or a server behind it, could read in another way.
 *
 * A browser drops tabs and newlines, takes a backslash for a slash, and lower-cases and decodes hosts: none of this is in
 * a URL that a program has built.
 */
function destinationOf(redirectUri: string): Destination | undefined {
  if (redirectUri.length > MAX_LENGTH || /[\0-\x20\x7f\\\uFFFD]/.test(redirectUri)) return undefined;
  const [, origin = "", path = "/"] = REDIRECT.exec(redirectUri) ?? [];
  const url = URL.canParse(redirectUri) ? new URL(redirectUri) : undefined;
  if (!url || url.origin !== origin) return undefined;
  // A dot segment, or an empty one, which some take for none.
  if (url.pathname !== encodedPath(path) || path.includes("//")) return undefined;
  return { origin, path };
}

/** Characters outside of ASCII may be written as they are. */
function encodedPath(path: string): string {
  return path.replace(/[^\x21-\x7e]+/g, (text) => encodeURIComponent(text.toWellFormed()));
}

/**
 * What an operator lists: `https://h5.example.com`, `https://h5.example.com/app`, `https://*.dev.example.com`.
 *
 * @throws {ServiceError} `invalid_parameter`.
 */
export function readRedirectOrigin(text: string): RedirectOrigin {
  const plain = text.replace(/^(https?:\/\/)\*\./, "$1x.");
  const destination = destinationOf(plain);
  if (!destination || /[?#]/.test(plain) || SMUGGLED.test(destination.path)) throw badOrigin();
  const { hostname } = new URL(plain);
  // One name of many owners, as *.com and *.com.cn, would be open to all of them.
  const isShared = hostname.split(".").length < 3 || OF_MANY_OWNERS.test(hostname);
  if (plain !== text && (isShared || /^[\d.]+$/.test(hostname))) throw badOrigin();
  const origin = plain === text ? destination.origin : destination.origin.replace("//x.", "//*.");
  return { origin, path: destination.path.replace(/\/+$/, "") || "/" };
}

/** As an operator writes it. */
export function redirectOriginText({ origin, path }: RedirectOrigin): string {
  return path === "/" ? origin : origin + path;
}

function badOrigin(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "应为源，可带路径前缀，如 https://h5.example.com 或 https://h5.example.com/app；开头的 *. 之后至少须有两级域名，且不能是 com.cn 之类的公共后缀 (must be an origin, perhaps with the beginning of a path, as https://h5.example.com or https://h5.example.com/app; behind a leading *. there must be two labels at least, and no public suffix as com.cn)",
  );
}

function hasOrigin({ origin }: RedirectOrigin, to: Destination): boolean {
  const [scheme = "", suffix] = origin.split("*");
  if (suffix === undefined) return to.origin === origin;
  // One label, and no port in it.
  const label = to.origin.slice(scheme.length, -suffix.length);
  return to.origin.startsWith(scheme) && to.origin.endsWith(suffix) && /^[a-z0-9-]+$/.test(label);
}

function isBelow(path: string, beginning: string): boolean {
  if (beginning === "/") return true;
  return !SMUGGLED.test(path) && (path === beginning || path.startsWith(`${beginning}/`));
}

/**
 * A path as the most lenient of servers reads it: decoded, in lower case, without parameters of segments and empty
 * segments. Undefined where servers go different ways.
 */
function lenientPath(path: string): string | undefined {
  if (SMUGGLED.test(path)) return undefined;
  try {
    const decoded = decodeURIComponent(path).toLowerCase();
    const lenient = decoded.replace(/;[^/]*/g, "").replace(/\/{2,}/g, "/");
    return /\/\.{1,2}(\/|$)/.test(lenient) ? undefined : lenient;
  } catch {
    return undefined;
  }
}

/** The narrower first: a whole host before a wildcard, then the longer path. */
function byNarrowness(a: RedirectOrigin, b: RedirectOrigin): number {
  const wide = Number(a.origin.includes("*")) - Number(b.origin.includes("*"));
  return wide || b.path.length - a.path.length;
}

/**
 * Where the web logins of every app may return to, in this process's memory, and which environment that is.
 *
 * It is reread when environments have changed. While it was never read, nothing is allowed.
 */
export class RedirectOrigins {
  readonly #mirror: Mirror;
  #byApp: ReadonlyMap<string, readonly OwnedRedirectOrigin[]> = new Map();

  constructor(store: Pick<RedirectOriginStore, "loadOrigins">, changes: Changes) {
    this.#mirror = new Mirror(changes, "environments", async () => {
      this.#byApp = Map.groupBy(await store.loadOrigins(), ({ app }) => app);
    });
  }

  /**
   * The app and the environment, of these apps, that a redirect belongs to; the narrowest where several fit. Where paths
   * divide an origin among environments, none for a path that some server takes for another environment's.
   */
  ownerOf(apps: readonly string[], redirectUri: string): OwnedRedirectOrigin | undefined {
    const to = destinationOf(redirectUri);
    if (!to) return undefined;
    const listed = apps.flatMap((app) => this.of(app).filter((each) => hasOrigin(each, to)));
    const sorted = listed.toSorted(byNarrowness);
    const owner = sorted.find(({ path }) => isBelow(to.path, path));
    const isRival = ({ environment, path }: OwnedRedirectOrigin) =>
      environment !== owner?.environment && (path !== "/" || owner?.path !== "/");
    if (!owner || !listed.some(isRival)) return owner;
    const lenient = lenientPath(to.path);
    if (lenient === undefined) return undefined;
    const other = sorted.find(({ path }) => isBelow(lenient, lenientPath(path) ?? path));
    return other?.environment === owner.environment ? owner : undefined;
  }

  /** The redirect origins of an app, of every environment. */
  of(app: string): readonly OwnedRedirectOrigin[] {
    return this.#byApp.get(app) ?? [];
  }

  /** Rereads what has changed. Throws what the store throws; then the last copy stays in use. */
  refresh(): Promise<void> {
    return this.#mirror.refresh();
  }

  /** Begins to follow the changes of all processes. */
  start(): void {
    this.#mirror.start();
  }

  stop(): void {
    this.#mirror.stop();
  }
}
