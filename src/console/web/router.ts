import { signal } from "@preact/signals";

/** Where the user is: all of what a screen shows depends on this and on the server. */
export interface Route {
  /** As `/apps/wx1`; decoded piece by piece in `match`. */
  readonly path: string;
  readonly query: ReadonlyMap<string, string>;
}

/** Changes of the query; undefined or "" removes a name. */
export type Query = Record<string, string | number | undefined>;

function parse(hash: string): Route {
  const [path = "", search = ""] = hash.replace(/^#/, "").split("?", 2);
  return { path: path.startsWith("/") ? path : "/", query: new Map(new URLSearchParams(search)) };
}

/** The current route. Reading it in a component subscribes that to it. */
export const route = signal<Route>(parse(location.hash));

addEventListener("hashchange", () => {
  route.value = parse(location.hash);
});

/** The link to a screen, as `#/apps?state=failing`. Names in `path` are to be encoded with `encodeURIComponent`. */
export function href(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return `#${path}${search ? `?${search}` : ""}`;
}

/** Goes to a screen; with `isReplacing` the back button skips the one that was left. */
export function navigate(path: string, query: Query = {}, { isReplacing = false } = {}): void {
  const to = href(path, query);
  if (to === location.hash) return;
  if (isReplacing) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  route.value = parse(to);
}

/** Changes the view of this screen: filters, tab, page. The rest of the query stays; no new step back unless asked for. */
export function setQuery(changes: Query, { isStep = false } = {}): void {
  const { path, query } = route.peek();
  navigate(path, { ...Object.fromEntries(query), ...changes }, { isReplacing: !isStep });
}

/** The parts that `pattern`, as `/apps/:app`, names in a path, decoded; undefined where it does not fit. */
export function match(pattern: string, path: string): Record<string, string> | undefined {
  const [wanted, given] = [pattern.split("/"), path.split("/")];
  if (wanted.length !== given.length) return undefined;
  const params: Record<string, string> = {};
  for (const [n, piece] of wanted.entries()) {
    const value = given[n] ?? "";
    if (!piece.startsWith(":")) {
      if (piece !== value) return undefined;
      continue;
    }
    try {
      params[piece.slice(1)] = decodeURIComponent(value);
    } catch {
      return undefined;
    }
    if (value === "") return undefined;
  }
  return params;
}
