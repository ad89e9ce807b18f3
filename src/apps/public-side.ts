import type { AppDirectory } from "./app-directory.ts";
import { isAgency } from "./app.ts";

/** How many Host headers are remembered, and how long ones. */
const MAX_KNOWN = 1000;
const MAX_LENGTH = 256;

/** Where WeChat and users' browsers reach the service, as `PUBLIC_URL` and the apps' own settings say. */
export class PublicSide {
  readonly #url: string | undefined;
  readonly #servesAll: boolean;
  readonly #directory: Pick<AppDirectory, "find" | "publicUrls" | "epoch">;
  /** The host names of the epoch, and what was found out by them. */
  #epoch = -1;
  #names: ReadonlySet<string> = new Set();
  readonly #known = new Map<string, boolean>();

  constructor(
    { url, servesAll }: { readonly url: string | undefined; readonly servesAll: boolean },
    directory: Pick<AppDirectory, "find" | "publicUrls" | "epoch">,
  ) {
    this.#url = url;
    this.#servesAll = servesAll;
    this.#directory = directory;
  }

  /**
   * The public URL of `path`, which begins with a slash, for the app of that public name; undefined where none is set. What
   * a platform has, has the platform's where it has none of its own: the domains that WeChat knows are the platform's.
   */
  urlOf(app: string, path: string): string | undefined {
    const { managed, authorization } = this.#directory.find(app) ?? {};
    const platform = authorization && this.#directory.find(authorization.platformApp);
    const origin = managed?.publicUrl ?? platform?.managed?.publicUrl ?? this.#url;
    return origin === undefined ? undefined : origin + path;
  }

  /**
   * Where WeChat pushes to of that app. `command`: what a third-party platform is told itself, and all that any other app
   * is sent. `message`: what the platform's accounts are sent, each at a URL of its own. `platform`: of an account, whose
   * URL that is.
   */
  callbackUrlsOf(name: string): {
    readonly command: string | undefined;
    readonly message?: string | undefined;
    readonly platform?: string | undefined;
  } {
    const app = this.#directory.find(name);
    const url = (path: string) => this.urlOf(name, `/callback/${path}`);
    if (app?.role === "provider") return { command: url(`${name}/auth`) };
    if (app?.role) {
      const account = app.role === "suite" ? "$CORPID$" : "$APPID$";
      return { command: url(`${name}/auth`), message: url(`${name}/${account}`) };
    }
    const platform = app?.authorization?.platformApp;
    // An agency app has a callback URL of its own; what else a platform has is pushed to the platform's.
    if (!app || platform === undefined || isAgency(platform)) return { command: url(name) };
    return { command: url(`${platform}/${app.id}`), platform };
  }

  /** Whether under that Host header nothing is answered but what is public. Ports don't matter: proxies change them. */
  isWalled(host: string): boolean {
    if (this.#servesAll) return false;
    if (this.#epoch !== this.#directory.epoch) this.#read();
    if (this.#names.size === 0) return false;
    let isPublic = this.#known.get(host);
    if (isPublic !== undefined) return isPublic;
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    isPublic = this.#names.has(hostName(`http://${host}`));
    if (host.length <= MAX_LENGTH) this.#known.set(host, isPublic);
    return isPublic;
  }

  #read(): void {
    const { publicUrls, epoch } = this.#directory;
    const urls = [...publicUrls, ...(this.#url === undefined ? [] : [this.#url])];
    this.#names = new Set(urls.map(hostName));
    this.#known.clear();
    this.#epoch = epoch;
  }
}

/** A name with a dot at its end is the same, written in full. */
function hostName(url: string): string {
  return URL.canParse(url) ? new URL(url).hostname.replace(/\.$/, "") : "";
}
