import type { App } from "../../src/apps/app.ts";
import type { Credential } from "../../src/credentials/credential.ts";
import type { CredentialKind } from "../../src/credentials/kinds.ts";
import type { SandboxOptions } from "../../src/sandbox/sandbox.ts";
import { Secret } from "../../src/secret.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import type { Store } from "../../src/store/store.ts";
import { entryOf } from "./audit-entries.ts";
import { Harness } from "./harness.ts";

export const COMPONENT = { appId: "wxc000000000000001", secret: "0123456789abcdef0123456789abcdef" };
export const OFFICIAL = "wxa000000000000001";
export const MINI = "wxa000000000000002";
export const PROVIDER = { corpId: "wwprovider00000001", secret: "secret-of-provider" };
export const SUITE = { id: "wwsuite0000000000001", secret: "secret-of-suite" };
export const TEMPLATE = { id: "dktemplate0000000001", secret: "secret-of-template" };
export const CUSTOMER = "wwcustomer0000000001";
export const OTHER_CUSTOMER = "wwcustomer0000000002";

/** The public name of an account or a corp that a platform has. */
export const nameOf = (account: string, platform: string = COMPONENT.appId) => `${account}_${platform}`;

const KEY = { token: "sandboxtoken2", aesKey: "accesstokenSandboxKey0123456789abcdefghijkL" };
const CORPS = (agentId: number) => [
  { corpId: CUSTOMER, name: "客户甲", agentId },
  { corpId: OTHER_CUSTOMER, name: "客户乙", agentId: agentId + 1 },
];

/** A sandbox with a component and a provider. */
export const PLATFORM_SANDBOX: Partial<SandboxOptions> = {
  components: [
    {
      ...{ ...COMPONENT, ...KEY },
      authorizers: [
        { appId: OFFICIAL, name: "公众号一", userName: "gh_000000000001", kind: "official", funcIds: [1, 2] },
        { appId: MINI, name: "小程序二", userName: "gh_000000000002", kind: "miniprogram", funcIds: [17] },
      ],
    },
  ],
  providers: [
    {
      ...PROVIDER,
      suites: [
        { ...KEY, suiteId: SUITE.id, secret: SUITE.secret, corps: CORPS(1_000_010) },
        { ...KEY, suiteId: TEMPLATE.id, secret: TEMPLATE.secret, corps: CORPS(1_000_020) },
      ],
    },
  ],
};

const MANAGED = { title: undefined, isDisabled: false, version: 1 };
const PLATFORMS: readonly App[] = [
  {
    ...{ platform: "weixin", tokenMode: "stable", role: "component", id: COMPONENT.appId, managed: MANAGED },
    secret: new Secret(COMPONENT.secret),
  },
  ...[SUITE, TEMPLATE].map((suite): App => ({
    ...{ platform: "wecom", role: "suite", agent: "@suite", id: suite.id, managed: MANAGED },
    ...{ provider: PROVIDER.corpId, secret: new Secret(suite.secret) },
  })),
  {
    ...{ platform: "wecom", role: "provider", agent: "@provider", id: PROVIDER.corpId, managed: MANAGED },
    secret: new Secret(PROVIDER.secret),
  },
];

/** Runs `work` with a store of its own on the database of a running service, as another process does. */
export async function withStoreOf<T>(world: Harness, work: (store: Store) => Promise<T>): Promise<T> {
  const store = await openSqliteStore({
    path: world.databasePath,
    masterKey: undefined,
    masterKeyFile: `${world.folder}/data/master.key`,
    newDatabase: false,
    clock: world.clock,
    onKeyCreated: () => undefined,
  });
  try {
    return await work(store);
  } finally {
    store.close();
  }
}

/** Lets the service hold the sandbox's component, suites and provider, each with the ticket that was pushed last. */
export async function holdPlatforms(world: Harness): Promise<void> {
  const { sandbox, clock } = world;
  const now = clock.now();
  await withStoreOf(world, async ({ apps, credentials }) => {
    for (const app of PLATFORMS) await apps.create(app, entryOf({ action: "app.created" }));
    const accept = (id: string, role: string, kind: CredentialKind, value: string) => {
      const platform = role === "component" ? "weixin" : "wecom";
      const ticket: Credential = { value: new Secret(value), issuedAt: now, expiresAt: now + 3_600_000 };
      return credentials.accept({ slot: { platform, appId: id, name: `@${role}` }, kind }, ticket);
    };
    const ticket = sandbox.component(COMPONENT.appId).component.addTicket();
    await accept(COMPONENT.appId, "component", "component_verify_ticket", ticket);
    for (const { id } of [SUITE, TEMPLATE]) {
      const { ticket: pushed } = await sandbox.suite(id).pushTicket();
      await accept(id, "suite", "suite_ticket", pushed);
    }
  });
  await Harness.until(async () => (await world.administer(`/v1/apps/${COMPONENT.appId}`)).status === 200);
}
