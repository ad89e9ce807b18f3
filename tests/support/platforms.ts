import { dirname, join } from "node:path";
import { type App, type Authorization, nameOfApp } from "../../src/apps/app.ts";
import { SERVICE } from "../../src/audit/audit-entry.ts";
import { Secret } from "../../src/secret.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import type { Store } from "../../src/store/store.ts";
import type { Harness } from "./harness.ts";

/** A component, and two accounts that may authorize it. */
export const COMPONENT = { id: "wxc000000000000001", secret: "c0".repeat(16) };
export const SHOP = "wxa000000000000001";
export const GAME = "wxa000000000000002";
/** A suite and a template of agency apps, of one provider. */
export const PROVIDER = { id: "ww00000000000000d1", secret: "providerSecret-ddddddddddddddddddddddddddddd" };
export const SUITE = { id: "ww00000000000000e1", secret: "suiteSecret-eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee" };
export const TEMPLATE = { id: "dk00000000000000f1", secret: "templateSecret-fffffffffffffffffffffffffffff" };

/** The public name of an account that has authorized a platform. */
export const nameWith = (account: string, platform: string) => `${account}_${platform}`;

/**
 * An account or a corp that has authorized a platform, as if a process had written it that heard of it; its public name.
 */
export async function addAuthorized(
  world: Harness,
  account: string,
  platformApp: string,
  facts: Partial<Authorization> & { readonly title?: string } = {},
): Promise<string> {
  const { title, ...rest } = facts;
  const authorization = { platformApp, authorizedAt: world.clock.now(), scopes: [], ...rest };
  const managed = { title, isDisabled: false, version: 0 };
  const common = { id: account, secret: new Secret(`refreshtoken@@@${account}`), managed, authorization };
  const app: App = platformApp.startsWith("wx")
    ? { platform: "weixin", tokenMode: "stable", ...common }
    : { platform: "wecom", agent: platformApp, ...common };
  const name = nameOfApp(app);
  const entry = { action: "authorization.granted", app: name, outcome: "ok", tokenDigest: "" } as const;
  await withStore(world, (store) => store.apps.create(app, { ...SERVICE, ...entry, detail: {} }));
  return name;
}

/** A ticket that was pushed to a platform at `at`, as if another process had taken it. */
export async function addTicket(
  world: Harness,
  id: string,
  at: number,
  text = `ticket@@@${id}`,
): Promise<void> {
  const [platform, role, kind, lifeMs] = id.startsWith("wx")
    ? (["weixin", "@component", "component_verify_ticket", 43_200_000] as const)
    : (["wecom", "@suite", "suite_ticket", 1_800_000] as const);
  const slot = { platform, appId: id, name: role };
  const ticket = { value: new Secret(text), issuedAt: at, expiresAt: at + lifeMs };
  await withStore(world, (store) => store.credentials.accept({ slot, kind }, ticket));
}

async function withStore(world: Harness, work: (store: Store) => Promise<unknown>): Promise<void> {
  const store = await openSqliteStore({
    path: world.databasePath,
    masterKey: undefined,
    masterKeyFile: join(dirname(world.databasePath), "master.key"),
    clock: world.clock,
    onKeyCreated: () => undefined,
  });
  await work(store);
  store.close();
  // Without time the service does not look for what others have written.
  world.clock.advance(100);
}
