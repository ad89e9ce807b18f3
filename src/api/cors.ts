/** The routes that pages of other origins may call: those that sign pages. */
const SIGNATURE_PATH = /^\/(JsSDK\/getJsApiSign|v1\/apps\/[^/]+\/signatures\/[^/]+)$/;
const MAX_AGE_SECONDS = "600";

/**
 * Which pages of other origins are answered: those of the listed origins, on the signature routes, and no others.
 *
 * https://fetch.spec.whatwg.org/#http-cors-protocol
 */
export class Cors {
  readonly #origins: () => readonly string[];

  /** `origins` gives those that are listed now, as browsers write them: lower case, without a path. */
  constructor(origins: () => readonly string[]) {
    this.#origins = origins;
  }

  /** Whether the request comes from such a page, for such a route. */
  allowsOrigin(request: Request): boolean {
    const origins = this.#origins();
    if (origins.length === 0) return false;
    const origin = request.headers.get("origin");
    return origin !== null && origins.includes(origin) && SIGNATURE_PATH.test(pathOf(request));
  }

  /** The headers that let the page read the answer; undefined for any other request. */
  headersFor(request: Request): Record<string, string> | undefined {
    if (!this.allowsOrigin(request)) return undefined;
    return { "access-control-allow-origin": request.headers.get("origin") ?? "", vary: "Origin" };
  }

  /** The answer to a preflight request; undefined for any other. */
  preflight(request: Request): Response | undefined {
    if (request.method !== "OPTIONS") return undefined;
    const allowed = this.headersFor(request);
    if (!allowed || request.headers.get("access-control-request-method") !== "POST") return undefined;
    return new Response(null, {
      status: 204,
      headers: {
        ...allowed,
        "access-control-allow-methods": "POST",
        "access-control-allow-headers": "content-type, authorization, x-api-key",
        "access-control-max-age": MAX_AGE_SECONDS,
      },
    });
  }
}

function pathOf({ url }: Request): string {
  return new URL(url).pathname;
}
