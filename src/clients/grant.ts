/** What a client may be allowed to do. */
export const ACTIONS = [
  /** Get an access token. */
  "token:read",
  /** Have one forgotten. */
  "token:clear",
  /** Order a new one, also by force; report one as dead; end an app's pauses. */
  "token:refresh",
  /** Get a ticket. */
  "ticket:read",
  /** Have a page signed. */
  "ticket:sign",
  /** Exchange a user's code. */
  "login",
  /** Call WeChat through the gateway. */
  "api:call",
  /** Manage apps, clients and keys, read the audit, and everything above on every app. */
  "admin",
] as const;
export type Action = (typeof ACTIONS)[number];

/** In the place of an app's name: every app. No app is called so. */
export const ANY_APP = "*";

/** Some actions on some apps. */
export interface Grant {
  /** Public names of apps, or `ANY_APP` for all of them. */
  readonly apps: readonly string[];
  readonly actions: readonly Action[];
}

/** Whether one of the grants allows `action` on the app of that public name. `admin` allows everything. */
export function allows(grants: readonly Grant[], action: Action, app: string): boolean {
  return grants.some(
    ({ apps, actions }) =>
      actions.includes("admin") ||
      (action !== "admin" && actions.includes(action) && (apps.includes(ANY_APP) || apps.includes(app))),
  );
}
