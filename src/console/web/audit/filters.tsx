import { useMemo } from "preact/hooks";
import { Button } from "../parts/button.tsx";
import { InstantField } from "../parts/instant-field.tsx";
import { route, setQuery } from "../router.ts";
import { actionWords, w } from "./words.ts";

/** What is looked at: entries, counts of use, counts of denials. */
export type View = "changes" | "usage" | "denials";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** By the word in the query. */
const PERIODS: Readonly<Record<string, number>> = {
  "1h": HOUR_MS,
  "24h": DAY_MS,
  "7d": 7 * DAY_MS,
  "30d": 30 * DAY_MS,
};
const MINUTE_MS = 60_000;

/** The names of the filters that a view has, as the API calls them. */
const FILTERS: Readonly<Record<View, readonly string[]>> = {
  changes: ["client", "app", "environment", "action", "token_digest"],
  usage: ["client", "app", "environment"],
  denials: ["client"],
};

/** What the API is asked for, as the route says. */
export function useFilter(view: View): URLSearchParams {
  const { query } = route.value;
  const period = PERIODS[query.get("period") ?? ""];
  // A period ends now, but not at another moment with each drawing.
  const since = useMemo(
    () => period && Math.floor((Date.now() - period) / MINUTE_MS) * MINUTE_MS,
    [period, query.get("after")],
  );
  const filter = new URLSearchParams();
  for (const name of [...FILTERS[view], "since", "until"]) {
    const value = query.get(name);
    if (value) filter.set(name, value);
  }
  if (since !== undefined) filter.set("since", String(since));
  return filter;
}

/** Whether anything is filtered by. */
export function isFiltered(): boolean {
  const { query } = route.value;
  return [...FILTERS.changes, "period", "since", "until"].some((name) => query.has(name));
}

/** Shows everything again. */
export function clearFilters(): void {
  const none = [...FILTERS.changes, "period", "since", "until", "after"].map((name) => [name, undefined]);
  setQuery(Object.fromEntries(none) as Record<string, undefined>);
}

/** The filters of a view; each stands in the query of the route. */
export function Filters({ view }: { readonly view: View }) {
  const { query } = route.value;
  const set = (name: string, value: string | undefined) => setQuery({ [name]: value, after: undefined });
  const names = { client: w.client, app: w.app, environment: w.environment };
  const digest = query.get("token_digest");
  const isCustom = query.has("since") || query.has("until");
  const period = isCustom ? "custom" : (query.get("period") ?? "");
  const choosePeriod = (value: string) => {
    const since = value === "custom" ? Date.now() - DAY_MS : undefined;
    setQuery({ period: value === "custom" ? undefined : value, since, until: undefined, after: undefined });
  };
  const instant = (name: "since" | "until") => Number(query.get(name) ?? "") || undefined;
  return (
    <div class="toolbar filters">
      {(["client", "app", "environment"] as const)
        .filter((name) => FILTERS[view].includes(name))
        .map((name) => (
          <input
            key={name}
            type="search"
            aria-label={names[name]}
            placeholder={names[name]}
            value={query.get(name) ?? ""}
            // Each letter of a name would be a filter of its own.
            onChange={(event) => set(name, event.currentTarget.value.trim())}
          />
        ))}
      {view === "changes" && (
        <select
          aria-label={w.action}
          value={query.get("action") ?? ""}
          onInput={(event) => set("action", event.currentTarget.value)}
        >
          <option value="">{w.anyAction}</option>
          {Object.entries(actionWords).map(([action, word]) => (
            <option key={action} value={action}>
              {word}
            </option>
          ))}
        </select>
      )}
      <select
        aria-label={w.period}
        value={period}
        onInput={(event) => choosePeriod(event.currentTarget.value)}
      >
        <option value="">{w.anyTime}</option>
        <option value="1h">{w.lastHour}</option>
        <option value="24h">{w.lastDay}</option>
        <option value="7d">{w.lastWeek}</option>
        <option value="30d">{w.lastMonth}</option>
        <option value="custom">{w.custom}</option>
      </select>
      {isCustom && (
        <>
          <InstantField
            label={w.since}
            value={instant("since")}
            onInput={(at) => set("since", at === undefined ? undefined : String(at))}
          />
          <InstantField
            label={w.until}
            value={instant("until")}
            onInput={(at) => set("until", at === undefined ? undefined : String(at))}
          />
        </>
      )}
      {digest && view === "changes" && (
        <Button isSmall icon="close" onClick={() => set("token_digest", undefined)}>
          {w.ofToken(digest)}
        </Button>
      )}
      {isFiltered() && (
        <Button kind="quiet" onClick={clearFilters}>
          {w.clearFilters}
        </Button>
      )}
    </div>
  );
}
