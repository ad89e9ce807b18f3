import { isLoopback, memoize, type Networks, plainAddress } from "../access/networks.ts";
import { ServiceError } from "../errors.ts";
import type { Call } from "./face.ts";

/** As `ServiceError.hint` where a browser would not keep the cookie. */
const TLS_NEEDED =
  "请在前面放置TLS反向代理，用https打开，并把代理列入TRUSTED_PROXIES（见 docs/zh/console.md）；或经SSH隧道以localhost打开 (open it by https, through a proxy with TLS that TRUSTED_PROXIES lists, as docs/console.md says; or by an SSH tunnel as localhost)";

/** The bytes of a session's id. */
const ID_BYTES = 32;
const ID = /^[A-Za-z0-9_-]{43}$/;

/**
 * The cookie of the console's sessions.
 *
 * It is taken from pages of our own alone, as the browser itself says: browsers that say nothing of where a request comes
 * from have no session.
 */
export class ConsoleCookies {
  readonly #isProxy: (address: string) => boolean;

  constructor(trustedProxies: Networks) {
    this.#isProxy = memoize((address) => trustedProxies.includes(address));
  }

  /** The digest of the session's id that comes with `call`; undefined for none, and for a request that another page may have made. */
  sessionIn(call: Call): string | undefined {
    const header = call.request.headers.get("cookie");
    if (header === null || !this.#isOwn(call)) return undefined;
    const start = `${nameOf(this.#originOf(call) ?? "")}=`;
    const given = header.split(/;\s*/).filter((each) => each.startsWith(start));
    const [only = "", another] = given.map((each) => each.slice(start.length));
    return another === undefined && ID.test(only) ? digestOf(only) : undefined;
  }

  /**
   * Refuses what another page may have the browser send, and plain http that is not loopback: no browser keeps the
   * cookie there, and anybody on the way could.
   *
   * @throws {ServiceError} `forbidden`.
   */
  check(call: Call): void {
    if (this.#originOf(call) === undefined)
      throw new ServiceError(
        "forbidden",
        "禁止访问：控制台登录须使用https (signing in to the console needs https)",
        { hint: TLS_NEEDED },
      );
    if (this.#isOwn(call)) return;
    throw new ServiceError(
      "forbidden",
      "禁止访问：只接受控制台页面自身的请求 (only for requests of the console's own page)",
    );
  }

  /** The value of `set-cookie` that begins a session of a new id, and the id's digest. */
  begin(call: Call): { readonly digest: string; readonly cookie: string } {
    const id = newToken();
    return { digest: digestOf(id), cookie: this.#cookie(call, id) };
  }

  /** The value of `set-cookie` that ends it. */
  end(call: Call): string {
    return `${this.#cookie(call, "")}; Max-Age=0`;
  }

  #cookie(call: Call, value: string): string {
    const origin = this.#originOf(call) ?? "";
    const secure = origin.startsWith("https:") ? "Secure; " : "";
    return `${nameOf(origin)}=${value}; Path=/; ${secure}HttpOnly; SameSite=Strict`;
  }

  #isOwn(call: Call): boolean {
    const { headers, method } = call.request;
    if (headers.get("sec-fetch-site") !== "same-origin") return false;
    if (method === "GET" || method === "HEAD") return true;
    // A body that a form could send is refused wherever it is read.
    return headers.get("origin")?.toLowerCase() === this.#originOf(call);
  }

  /** Ours as the browser has it; undefined for plain http that is not loopback. */
  #originOf({ request: { headers }, socket }: Call): string | undefined {
    const host = headers.get("host")?.toLowerCase() ?? "";
    const scheme = headers.get("x-forwarded-proto")?.split(",")[0]?.trim().toLowerCase();
    if (scheme === "https" && this.#isProxy(plainAddress(socket.peer()))) return `https://${host}`;
    return isLoopback(host.replace(/:\d*$/, "")) ? `http://${host}` : undefined;
  }
}

/** Whether a person has caused a request of the console's page, and not the page by itself to show what has changed. */
export function isByPerson({ headers }: Request): boolean {
  return !headers.has("x-background") && headers.get("accept") !== "text/event-stream";
}

/** 256 bits of chance, as text. */
function newToken(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(ID_BYTES))).toString("base64url");
}

/** SHA-256 of a session's id or of a link's token, hex. */
function digestOf(text: string): string {
  return new Bun.SHA256().update(text).digest("hex");
}

/** Services on several ports of one machine share its cookies, so there the port is in the name. */
function nameOf(origin: string): string {
  if (origin.startsWith("https:")) return "__Host-ats";
  return `ats-${/:(\d+)$/.exec(origin)?.[1] ?? "80"}`;
}
