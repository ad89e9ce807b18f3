import type { AppCallbacks, RouteRole, Rule, Target } from "./callback-settings.ts";
import type { PushMessage } from "./push-message.ts";

/** Whether a message is one of those that a rule is for. */
export function matchesRule({ types, events, eventKeys, openids }: Rule, message: PushMessage): boolean {
  const { msgType, infoType, event, eventKey, fromUserName } = message;
  return (
    hasWord(types, msgType ?? infoType) &&
    hasWord(events, event) &&
    isListed(eventKeys, eventKey, isEventKey) &&
    isListed(openids, fromUserName)
  );
}

/**
 * Where a message goes.
 *
 * `primaries` are the targets whose answer may count, in the order of the routes and each once: the first that can be
 * reached gets it and answers, the others get nothing. `copies` are told, each once. A target can be in both: it gets the
 * copy where another one answers, and nothing twice.
 */
export function routesFor(
  { targets, routes }: Pick<AppCallbacks, "targets" | "routes">,
  message: PushMessage,
): { readonly primaries: readonly Target[]; readonly copies: readonly Target[] } {
  const matching = routes.filter(({ rule }) => matchesRule(rule, message));
  const named = (wanted: RouteRole): Target[] => {
    const names = new Set(matching.flatMap(({ role, target }) => (role === wanted ? [target] : [])));
    return [...names].flatMap((name) => targets.find((target) => target.name === name) ?? []);
  };
  return { primaries: named("primary"), copies: named("copy") };
}

function isListed(
  list: readonly string[] | undefined,
  value: string | undefined,
  fits = (wanted: string, found: string) => wanted === found,
): boolean {
  if (list === undefined || list.length === 0) return true;
  return value !== undefined && list.some((wanted) => fits(wanted, value));
}

function hasWord(list: readonly string[] | undefined, value: string | undefined): boolean {
  return isListed(list, value, (wanted, found) => wanted.toLowerCase() === found.toLowerCase());
}

function isEventKey(wanted: string, found: string): boolean {
  return wanted.endsWith("*") ? found.startsWith(wanted.slice(0, -1)) : wanted === found;
}
