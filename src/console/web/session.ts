import { signal } from "@preact/signals";
import type { Action } from "../../access/client.ts";
import type { Me } from "../../api/console-schema.ts";
import { ApiError, type Call, get, onSignedOut, post, remove } from "./api.ts";

/** `unknown` until the service has answered; `insecure` where the browser would not keep the session: plain http. */
export type SessionState = "unknown" | "in" | "out" | "insecure" | "unreachable";

/** Who is signed in; undefined for nobody. */
export const me = signal<Me | undefined>(undefined);
export const sessionState = signal<SessionState>("unknown");

function enter(who: Me): void {
  me.value = who;
  sessionState.value = "in";
}

function leave(): void {
  me.value = undefined;
  if (sessionState.peek() !== "insecure") sessionState.value = "out";
}
onSignedOut.current = leave;

/** Asks who is signed in. Never throws: the state says what came of it. */
export async function loadSession(call: Pick<Call, "isBackground"> = {}): Promise<void> {
  try {
    enter(await get<Me>("/console/session", call));
  } catch (error) {
    const status = error instanceof ApiError ? error.status : 0;
    if (status === 401) leave();
    // What a screen has open must outlive a moment without an answer.
    else if (me.peek() === undefined) sessionState.value = status === 403 ? "insecure" : "unreachable";
  }
}

/** Signs in with a key, or with the token of a sign-in link. @throws {ApiError} when the service refuses. */
export async function signIn(by: { readonly key: string } | { readonly link: string }): Promise<void> {
  enter(await post<Me>("/console/session", by));
}

/** Makes the first administrator by a set-up link; returns its key, which is shown once. Call `enter` then: it signs in, or leads to the sign-in where no session could begin. */
export async function setUp(token: string): Promise<{ readonly key: string; readonly enter: () => void }> {
  const made = await post<{ readonly key: string; readonly me?: Me }>("/console/setup", { token });
  return { key: made.key, enter: () => (made.me ? enter(made.me) : leave()) };
}

/** Ends the session. @throws {ApiError} where it lives on: then the page must not say that it has ended. */
export async function signOut(): Promise<void> {
  await remove("/console/session");
  leave();
}

/** Whether whoever is signed in may do that: on the app, or where none is named on any at all. Admins may do everything. */
export function may(action: Action, app?: string): boolean {
  const who = me.value;
  if (!who) return false;
  if (who.is_admin) return true;
  return who.grants.some(
    ({ apps, actions }) =>
      actions.includes(action) && (app === undefined || apps.includes("*") || apps.includes(app)),
  );
}
