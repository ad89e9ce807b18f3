/** In what two addresses of a page differ. */
export type UrlDifference =
  "hash_included" | "html_escaped" | "encoding" | "scheme" | "url_form" | "added_parameters" | "other_page";

/** What WeChat adds to a page that was shared, and what the authorization adds to the address that it returns to. */
const ADDED = /^(from|isappinstalled|code|state|scene|subscene|clicktime|enterid|sessionid|ascene|nettype)$/;
const SHARED = /^(from|isappinstalled)$/;
const AUTHORIZED = /^(code|state)$/;

/** So many characters in all are tried, so that long addresses take no longer: each is hashed as a whole. */
const MAX_LENGTH = 512 * 1024;

/**
 * What a page may have signed in the place of these addresses, by up to three changes: the given ones first, then those
 * with the fewest, and `most` in all, fewer of long ones. `changes` is how many were made.
 */
export function urlVariants(
  given: readonly string[],
  most: number,
): readonly { readonly url: string; readonly changes: number }[] {
  const found = new Map<string, number>();
  let length = 0;
  let edge = [...new Set(given)];
  for (let changes = 0; edge.length > 0 && changes <= 3; changes++) {
    const next: string[] = [];
    for (const url of edge) {
      if (found.size >= most || length > MAX_LENGTH) break;
      if (found.has(url)) continue;
      found.set(url, changes);
      length += url.length;
      next.push(...CHANGES.flatMap((change) => change(url)));
    }
    edge = next;
  }
  return [...found].map(([url, changes]) => ({ url, changes }));
}

/** Each way of getting an address wrong, and back: one that is right may have been made of one that is wrong. */
const CHANGES: readonly ((url: string) => readonly string[])[] = [
  (url) => (url.includes("#") ? [withoutHash(url)] : [`${url}#`, `${url}#/`]),
  (url) => [url.replace(/^http(s?):/i, (_, secure: string) => (secure === "" ? "https:" : "http:"))],
  (url) => [unescaped(url), url.replaceAll("&", "&amp;")],
  (url) => [toggleSlash(url)],
  (url) => [withoutParameters(url, (name) => ADDED.test(name))],
  (url) => [withoutParameters(url, (name) => SHARED.test(name))],
  (url) => [withoutParameters(url, (name) => AUTHORIZED.test(name))],
  (url) => [decoded(url, decodeURIComponent), decoded(url, decodeURI)],
  (url) => [decoded(url, encodeURI), decoded(url, encodeURIComponent)],
  (url) => [url.split("?", 1)[0] ?? url],
  (url) => [withLowerHost(url), withoutDefaultPort(url), withDefaultPort(url)],
  (url) => [url.replaceAll("%20", "+"), url.replaceAll("+", "%20")],
];

/** The address as browsers show it, without what follows `#`: what should have been signed in the place of `url`. */
export function cleanUrl(url: string): string {
  const bare = withoutHash(unescaped(unwrapped(url.trim())));
  return URL.canParse(bare) && /^https?:/i.test(bare) ? new URL(bare).href : bare;
}

/**
 * In what `signed` differs from `expected`, which has no hash; empty where they are the same. All that is found, in the
 * order in which to look at it.
 */
export function differences(signed: string, expected: string): readonly UrlDifference[] {
  const found = new Set<UrlDifference>();
  if (signed === expected) return [];
  let [one, two] = [unwrapped(signed), expected];
  if (!/^https?:/i.test(one)) return ["other_page"];
  if (one !== signed) found.add("encoding");
  if (one.includes("#")) found.add("hash_included");
  one = withoutHash(one);
  if (/&amp;/i.test(one) !== /&amp;/i.test(two)) found.add("html_escaped");
  [one, two] = [unescaped(one), unescaped(two)];
  const [a, b] = [partsOf(one), partsOf(two)];
  if (a.scheme.toLowerCase() !== b.scheme.toLowerCase()) found.add("scheme");
  else if (a.scheme !== b.scheme) found.add("url_form");
  if (a.host !== b.host) found.add(bareHost(a) === bareHost(b) ? "url_form" : "other_page");
  compareText(trimSlash(a.path), trimSlash(b.path), found);
  if (a.path.endsWith("/") !== b.path.endsWith("/")) found.add("url_form");
  compareQueries(a.query, b.query, found);
  // What is left is a lone question mark or the like.
  if (found.size === 0) found.add("url_form");
  return [...found];
}

function compareQueries(one: string, two: string, found: Set<UrlDifference>): void {
  const [a, b] = [parametersOf(one), parametersOf(two)];
  const only = (from: readonly string[], other: readonly string[]) => {
    const others = new Set(other);
    return from.filter((each) => !others.has(each));
  };
  const [onlyA, onlyB] = [only(a, b), only(b, a)];
  const isAdded = (text: string) => ADDED.test(nameOf(text));
  if ([...onlyA, ...onlyB].some(isAdded)) found.add("added_parameters");
  const [restA, restB] = [onlyA, onlyB].map((rest) => rest.filter((text) => !isAdded(text)).join("&"));
  compareText(restA ?? "", restB ?? "", found);
  // The same parameters in another order are another address.
  if (onlyA.length + onlyB.length === 0 && a.join("&") !== b.join("&")) found.add("other_page");
}

function compareText(one: string, two: string, found: Set<UrlDifference>): void {
  if (one !== two) found.add(decodedWhole(one) === decodedWhole(two) ? "encoding" : "other_page");
}

interface UrlParts {
  readonly scheme: string;
  readonly host: string;
  readonly path: string;
  readonly query: string;
}

/** Split by hand: the parser of URLs corrects what is looked for here. */
function partsOf(url: string): UrlParts {
  const [, scheme = "", host = "", path = "", query = ""] =
    /^([^:/?]*:)?(?:\/\/)?([^/?]*)([^?]*)(?:\?(.*))?$/s.exec(url) ?? [];
  return { scheme, host, path, query };
}

function joined({ scheme, host, path, query }: UrlParts): string {
  return `${scheme}//${host}${path}${query === "" ? "" : `?${query}`}`;
}

function bareHost({ host }: UrlParts): string {
  return host.toLowerCase().replace(/:(80|443)$/, "");
}

function trimSlash(path: string): string {
  return path.replace(/\/$/, "");
}

function parametersOf(query: string): readonly string[] {
  return query.split("&").filter(Boolean);
}

function nameOf(parameter: string): string {
  return parameter.split("=", 1)[0] ?? "";
}

function withoutHash(url: string): string {
  return url.split("#", 1)[0] ?? url;
}

function unescaped(url: string): string {
  return url.replaceAll(/&(amp;)+/gi, "&");
}

/** An address that was encoded as a whole, as it was before. */
function unwrapped(url: string): string {
  let text = url;
  for (let round = 0; round < 4 && /^https?%(25)*3a/i.test(text); round++)
    text = decoded(text, decodeURIComponent);
  return text;
}

function withoutParameters(url: string, isLeftOut: (name: string) => boolean): string {
  const [bare = "", ...hash] = url.split("#");
  const parts = partsOf(bare);
  const query = parametersOf(parts.query)
    .filter((parameter) => !isLeftOut(nameOf(parameter)))
    .join("&");
  return query === parts.query ? url : [joined({ ...parts, query }), ...hash].join("#");
}

function toggleSlash(url: string): string {
  return url.replace(/^([^?#]*?)(\/?)(?=[?#]|$)/, (_, path: string, slash: string) =>
    slash === "" ? `${path}/` : path,
  );
}

function withLowerHost(url: string): string {
  return url.replace(/^[^/]*\/\/[^/?#]*/, (origin) => origin.toLowerCase());
}

function withoutDefaultPort(url: string): string {
  return url.replace(/^(http:\/\/[^/?#]*):80(?=[/?#]|$)|^(https:\/\/[^/?#]*):443(?=[/?#]|$)/i, "$1$2");
}

function withDefaultPort(url: string): string {
  return url.replace(
    /^(http)(s?)(:\/\/[^/?#:]+)(?=[/?#]|$)/i,
    (_, http: string, secure: string, rest: string) => `${http}${secure}${rest}:${secure === "" ? 80 : 443}`,
  );
}

function decoded(url: string, decode: (text: string) => string): string {
  try {
    return decode(url);
  } catch {
    return url;
  }
}

/** Decoded until nothing is left to decode, or no more can be; `+` counts as a blank. */
function decodedWhole(text: string): string {
  let [before, after] = ["", text];
  for (let round = 0; round < 4 && after !== before; round++)
    [before, after] = [after, decoded(after, decodeURIComponent)];
  return after.replaceAll("+", " ");
}
