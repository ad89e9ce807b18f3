import type { Action, Grant } from "../../../access/client.ts";

/** In the place of an app: every app. */
export const ANY_APP = "*";

/** The actions in the order of the matrix, by what they are about; those of `service` are for every app alone. */
export const ACTION_GROUPS = {
  app: ["view", "login", "api:call"],
  token: ["token:read", "token:clear", "token:refresh"],
  ticket: ["ticket:read", "ticket:sign"],
  callback: ["callback:receive", "callback:manage"],
  oauth: ["oauth:manage"],
  service: ["metrics:read", "admin"],
} as const satisfies Record<string, readonly Action[]>;

/** Fails to compile when an action is in no group. */
type Grouped = (typeof ACTION_GROUPS)[keyof typeof ACTION_GROUPS][number];
const isComplete: Action extends Grouped ? true : never = true;

/** Every action, in that order. */
export const ACTIONS: readonly Action[] = isComplete ? Object.values(ACTION_GROUPS).flat() : [];

/** Whether an action is about the service and no app. */
export function isForService(action: Action): boolean {
  return (ACTION_GROUPS.service as readonly Action[]).includes(action);
}

/** Grants by app: what each may be used for. */
export type Matrix = ReadonlyMap<string, ReadonlySet<Action>>;

/** What grants come to, app by app: every app first, then by name. */
export function matrixOf(grants: readonly Grant[]): Matrix {
  const matrix = new Map<string, Set<Action>>();
  for (const { apps, actions } of grants)
    for (const app of apps) matrix.set(app, new Set([...(matrix.get(app) ?? []), ...actions]));
  return new Map(
    [...matrix].toSorted(([a], [b]) => (a === ANY_APP ? -1 : b === ANY_APP ? 1 : a < b ? -1 : 1)),
  );
}

/** The fewest grants that come to `matrix`: apps with the same actions are one. */
export function grantsOf(matrix: Matrix): { apps: string[]; actions: Action[] }[] {
  const grants = new Map<string, { apps: string[]; actions: Action[] }>();
  for (const [app, allowed] of matrix) {
    const actions = ACTIONS.filter((action) => allowed.has(action));
    if (actions.length === 0) continue;
    const same = grants.get(actions.join());
    if (same) same.apps.push(app);
    else grants.set(actions.join(), { apps: [app], actions });
  }
  return [...grants.values()];
}

/** `matrix` with an action on an app switched; a row that loses its last action stays until it is saved. */
export function toggled(matrix: Matrix, app: string, action: Action): Matrix {
  const actions = new Set(matrix.get(app));
  if (!actions.delete(action)) actions.add(action);
  return new Map(matrix).set(app, actions);
}

/** What gives `action` on `app` beside its own row: `admin`, the row of every app, or nothing. */
export function impliedBy(matrix: Matrix, app: string, action: Action): "admin" | "any" | undefined {
  const any = matrix.get(ANY_APP);
  if (any?.has("admin") && action !== "admin") return "admin";
  return app !== ANY_APP && any?.has(action) ? "any" : undefined;
}
