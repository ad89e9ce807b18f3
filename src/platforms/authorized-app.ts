import type { App, Authorization, Slot, SlotName } from "../apps/app.ts";
import { Secret } from "../secret.ts";
import type { AuthorizedAccount } from "./platform-protocol.ts";

/** What stands for a refresh token where WeChat has given none. */
export const NO_SECRET = new Secret("");

/** The name of the slot of an account that has authorized `platform`. */
export function slotOf({ platform, appId }: SlotName, account: string): SlotName {
  return { platform, appId: account, name: appId };
}

/** The app of an account that has authorized `platform`, `at` epoch milliseconds. */
export function newApp(
  platform: Slot,
  { account, secret = NO_SECRET, title, facts }: AuthorizedAccount,
  at: number,
) {
  const authorization: Authorization = {
    ...{ scopes: [], ...withoutUnknown(facts) },
    ...{ platformApp: platform.appId, authorizedAt: at, since: at },
  };
  const managed = { title, isDisabled: false, version: 1 };
  const common = { id: account, secret, authorization, managed };
  const app: App =
    platform.platform === "weixin"
      ? { platform: "weixin", tokenMode: "stable", ...common }
      : { platform: "wecom", agent: platform.appId, ...common };
  return app;
}

/** The app with what is told of it now, and the next version. */
export function changedApp(
  app: App,
  told: AuthorizedAccount | undefined,
  change: Partial<Pick<Authorization, "authorizedAt" | "since" | "lostAt">>,
): App {
  const { authorization, managed } = app;
  if (!authorization || !managed) throw new Error("the app is of no authorization");
  return {
    ...app,
    authorization: { ...authorization, ...withoutUnknown(told?.facts ?? {}), ...change },
    managed: { ...managed, title: told?.title ?? managed.title, version: managed.version + 1 },
  };
}

function withoutUnknown<T extends object>(facts: T): Partial<T> {
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/** What the audit says of it. */
export function factsOf({ authorization, managed }: App): Readonly<Record<string, unknown>> {
  return {
    ...{ platform: authorization?.platformApp, title: managed?.title, scopes: authorization?.scopes },
    ...{ user_name: authorization?.userName, is_mini_program: authorization?.isMiniProgram },
    agent_id: authorization?.agentId,
  };
}
