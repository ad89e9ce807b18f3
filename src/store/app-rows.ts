import { and, eq, inArray } from "drizzle-orm";
import { type App, type Authorization, PLATFORM_ROLES, type SlotName, slotNameOf } from "../apps/app.ts";
import type { Secret } from "../secret.ts";
import { readable } from "./damaged-rows.ts";
import { apps, credentials } from "./schema.ts";
import type { SealedPlace } from "./sealing-key.ts";

/** An app as it is stored. */
export type AppRow = typeof apps.$inferSelect;

/** The same with what opens its secret. */
export type OpenableRow = AppRow & { readonly openSecret: () => Secret };

/** What names a row. */
export type RowName = Pick<AppRow, "platform" | "appId" | "agent">;

/** The same in one text. */
export function rowKey({ platform, appId, agent }: RowName): string {
  return `${platform}:${appId}:${agent}`;
}

/** Where an app's secret is sealed. */
export function secretPlace(row: RowName): SealedPlace {
  return { table: "apps", row: rowKey(row), column: "secret" };
}

/** The row of that name. */
export function isNamed({ platform, appId, agent }: RowName) {
  return and(eq(apps.platform, platform), eq(apps.appId, appId), eq(apps.agent, agent));
}

/** The managed app of that name, while that is its version. */
export function isVersion(name: RowName, version: number) {
  return and(isNamed(name), eq(apps.source, "managed"), eq(readable(apps.version), version));
}

/** The credentials of an app's own slots: those of an AppID that we hold are named after the token modes. */
export function isIssuedTo({ platform, appId, agent }: RowName) {
  const slots = platform === "wecom" || agent !== "" ? [agent] : ["stable", "classic"];
  return and(
    eq(credentials.platform, platform),
    eq(credentials.appId, appId),
    inArray(credentials.slot, slots),
  );
}

/** The own slot of a row's app. */
export function slotOf({ platform, appId, agent }: RowName): SlotName {
  return { platform: platform === "wecom" ? "wecom" : "weixin", appId, name: agent };
}

/** The row of an app's own slot. */
export function rowNameOf({ platform, appId, name }: SlotName): RowName {
  return { platform, appId, agent: name === "stable" || name === "classic" ? "" : name };
}

/** What an app is as a row. */
export type Columns = ReturnType<typeof toColumns>;

/** An app as its row has it, but for what only managed ones have; its secret as it is. */
export function toColumns(app: App) {
  const { platform, id: appId, secret, role, provider, addedAt, authorization } = app;
  const isThirdParty = role !== undefined || authorization !== undefined;
  const agent = app.platform === "wecom" || isThirdParty ? slotNameOf(app) : "";
  const tokenMode = app.platform === "wecom" ? "" : app.tokenMode;
  const thirdParty = isThirdParty ? JSON.stringify({ provider, addedAt, ...authorization }) : "";
  return { platform, appId, agent, tokenMode, secret, thirdParty };
}

/** What only third-party platforms, and what they have, need. What can't be read counts as not there. */
export function thirdPartyOf({
  platform,
  agent,
  thirdParty,
}: Pick<AppRow, "platform" | "agent" | "thirdParty">) {
  if (thirdParty === "") return {};
  const facts = readFacts(thirdParty);
  const role = PLATFORM_ROLES.find((each) => agent === `@${each}`);
  if (role) {
    const { provider, addedAt } = facts;
    return {
      ...{ role, provider: typeof provider === "string" ? provider : undefined },
      addedAt: typeof addedAt === "number" ? addedAt : undefined,
    };
  }
  if (platform === "weixin" && agent === "") return {};
  const { authorizedAt, since, scopes, userName, isMiniProgram, agentId, lostAt } = facts;
  const authorization: Authorization = {
    platformApp: agent,
    authorizedAt: typeof authorizedAt === "number" ? authorizedAt : 0,
    since: typeof since === "number" ? since : undefined,
    scopes: Array.isArray(scopes) ? scopes.filter((scope) => typeof scope === "number") : [],
    userName: typeof userName === "string" ? userName : undefined,
    isMiniProgram: typeof isMiniProgram === "boolean" ? isMiniProgram : undefined,
    agentId: typeof agentId === "string" ? agentId : undefined,
    lostAt: typeof lostAt === "number" ? lostAt : undefined,
  };
  return { authorization };
}

function readFacts(text: string): Partial<Record<keyof Authorization | "provider" | "addedAt", unknown>> {
  try {
    const facts: unknown = JSON.parse(text);
    return typeof facts === "object" && facts !== null ? facts : {};
  } catch {
    return {};
  }
}
