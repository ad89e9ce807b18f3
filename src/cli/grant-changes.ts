import type { Action, Grant } from "../clients/grant.ts";
import { ServiceError } from "../errors.ts";

/** Every app, in a grant's list of apps. */
export const ALL_APPS = "*";

/** What is taken away; what is undefined does not narrow. */
export interface Taking {
  /** Public names, or `*` alone for every app. */
  readonly apps: readonly string[] | undefined;
  readonly actions: readonly Action[] | undefined;
}

/** `grants` with one more; the very same list when they have it already. */
export function addGrant(grants: readonly Grant[], added: Grant): readonly Grant[] {
  const isThere = added.actions.every((action) =>
    added.apps.every((app) =>
      grants.some(({ apps, actions }) => actions.includes(action) && (isAll(apps) || apps.includes(app))),
    ),
  );
  if (isThere) return grants;
  const alike = grants.find(({ apps }) => apps.length === added.apps.length && includesAll(apps, added.apps));
  if (!alike) return [...grants, added];
  const joined = { ...alike, actions: [...new Set([...alike.actions, ...added.actions])] };
  return grants.map((grant) => (grant === alike ? joined : grant));
}

/**
 * `grants` without what is taken away; the very same list when they have nothing of it.
 *
 * @throws {ServiceError} `conflict` when a single app is to be taken from a grant on all: the rest has no name.
 */
export function takeGrants(grants: readonly Grant[], { apps, actions }: Taking): readonly Grant[] {
  const isHitApp = (app: string) => apps === undefined || isAll(apps) || apps.includes(app);
  const isHitAction = (action: Action) => actions?.includes(action) ?? true;
  const isHit = (grant: Grant) =>
    grant.actions.some(isHitAction) && (isAll(grant.apps) || grant.apps.some(isHitApp));
  if (!grants.some(isHit)) return grants;
  return grants.flatMap((grant) => {
    if (!isHit(grant)) return [grant];
    if (isAll(grant.apps) && !isHitApp(ALL_APPS)) throw grantOnAll();
    return [
      { apps: grant.apps.filter((app) => !isHitApp(app)), actions: grant.actions },
      { apps: grant.apps.filter(isHitApp), actions: grant.actions.filter((action) => !isHitAction(action)) },
    ].filter((rest) => rest.apps.length > 0 && rest.actions.length > 0);
  });
}

function isAll(apps: readonly string[]): boolean {
  return apps[0] === ALL_APPS;
}

function includesAll(list: readonly string[], wanted: readonly string[]): boolean {
  return wanted.every((each) => list.includes(each));
}

function grantOnAll(): ServiceError {
  return new ServiceError(
    "conflict",
    "该授权针对全部应用，无法只去掉其中一个 (the grant is for all apps, and one of them can't be taken out of it)",
    {
      hint: "请先用 --apps all 撤销，再授权其余应用 (take it away with --apps all, then grant the apps that are left)",
    },
  );
}
