import { expect, test as declared } from "bun:test";
import type { AuditEntry } from "../../../src/audit/audit-entry.ts";
import type { Environment, EnvironmentStore } from "../../../src/access/environments.ts";
import type { Client } from "../../../src/access/client.ts";
import { Secret } from "../../../src/secret.ts";
import { failureOf, failuresOf } from "../../support/refusals.ts";
import type { OpenStore } from "./open-store.ts";

const AT = 1_795_320_000_000;
const DEV = { name: "dev", isProduction: false, codes: "relay", createdAt: AT, updatedAt: AT } as const;
const LIVE = { ...DEV, name: "live", isProduction: true, codes: "raw" } as const;
const CLIENT: Omit<Client, "version"> = {
  name: "shop",
  environment: "pre",
  grants: [],
  networks: [],
  expiresAt: undefined,
  rateLimit: undefined,
  concurrency: undefined,
  delivery: "virtual",
  policy: { preset: "safe", allow: [], deny: [] },
  createdAt: AT,
  updatedAt: AT,
};

function entry(action: AuditEntry["action"]): AuditEntry {
  const actor = { client: "admin", environment: "", address: "127.0.0.1", traceId: "t" };
  return { ...actor, action, app: "", outcome: "ok", tokenDigest: "", detail: {} };
}

/** What every store of environments must do with what an environment is. `kind` names it in the tests' names. */
export function environmentStoreContract(kind: string, open: OpenStore, test = declared): void {
  async function setup() {
    const opened = await open();
    for (const each of [DEV, LIVE])
      await opened.store.environments.create(each, entry("environment.created"));
    return { ...opened, [Symbol.dispose]: () => opened.dispose() };
  }
  const listed = async (environments: EnvironmentStore) =>
    (await environments.list()).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const found = async (environments: EnvironmentStore, name: string) => {
    const all = await environments.list();
    return all.find((each) => each.name === name) as Environment;
  };

  test(`${kind}: P3: an environment is kept with everything that was said of it, also after closing and opening`, async () => {
    using it = await setup();
    const all = await listed(it.store.environments);
    expect(all).toMatchObject([DEV, LIVE]);
    expect(await listed((await it.reopen()).environments)).toEqual(all);
  });

  test(`${kind}: a client that is made or changed with a new environment's name creates it, production by its name`, async () => {
    using it = await setup();
    const { clients, environments, changes } = it.store;
    const before = changes.epoch("environments");
    await clients.create(CLIENT, entry("client.created"));
    expect(changes.epoch("environments")).toBeGreaterThan(before);
    expect(await found(environments, "pre")).toMatchObject({ isProduction: false, codes: "relay" });
    const version = (await clients.load()).clients[0]?.version ?? 0;
    const moved = { ...CLIENT, environment: "ONLINE", version: version + 1, updatedAt: AT + 1 };
    await clients.update(moved, entry("client.updated"));
    const made = { isProduction: true, codes: "raw", createdAt: AT + 1 };
    expect(await found(environments, "ONLINE")).toMatchObject(made);
    const epoch = changes.epoch("environments");
    await clients.create({ ...CLIENT, name: "crm", environment: "dev" }, entry("client.created"));
    expect(changes.epoch("environments")).toBe(epoch);
    expect(await found(environments, "dev")).toMatchObject(DEV);
  });

  test(`${kind}: an environment that clients are of is not removed, and one that nothing is of is`, async () => {
    using it = await setup();
    const { clients, environments } = it.store;
    await clients.create({ ...CLIENT, environment: "dev" }, entry("client.created"));
    const removal = async (name: string) => {
      const { version } = await found(environments, name);
      return environments.remove(name, version, entry("environment.deleted"));
    };
    const failure = await failureOf(removal("dev"));
    expect([failure.code, failure.message]).toEqual(["conflict", expect.stringContaining("clients: 1")]);
    const version = (await clients.load()).clients[0]?.version ?? 0;
    await clients.remove("shop", version, entry("client.deleted"));
    await removal("dev");
    expect((await listed((await it.beside()).environments)).map(({ name }) => name)).toEqual(["live"]);
  });

  test(`${kind}: an environment that web logins return to or pushes go to is not removed, and a target makes its own`, async () => {
    using it = await setup();
    const { environments, redirectOrigins, callbackSettings } = it.store;
    const removal = async (name: string) =>
      failureOf(
        environments.remove(name, (await found(environments, name)).version, entry("environment.deleted")),
      );
    const origin = [{ origin: "https://dev.example.com", path: "/" }];
    const changed = entry("redirect_origins.updated");
    await redirectOrigins.replace({ app: "wx1", environment: "dev" }, origin, undefined, changed);
    expect((await removal("dev")).message).toContain("(redirect origins: 1)");
    const settings = {
      app: "wx1",
      token: new Secret("t"),
      mode: "plain",
      format: "xml",
      receiveIds: ["wx1"],
    } as const;
    await callbackSettings.save(settings, 0, entry("callback.updated"));
    const target = { app: "wx1", name: "pull", environment: "laptop", content: "original" } as const;
    await callbackSettings.saveTarget(target, 0, entry("callback_target.updated"));
    expect(await found(environments, "laptop")).toMatchObject({ isProduction: false, codes: "relay" });
    expect((await removal("laptop")).message).toContain("(targets of pushes: 1)");
  });

  test(`${kind}: P7: a change that is refused leaves neither a change nor an entry`, async () => {
    using it = await setup();
    const { environments, audit } = it.store;
    const before = await listed(environments);
    const [dev] = before as [Environment];
    const changed = { ...dev, codes: "raw" } as const;
    const refused = await failuresOf([
      environments.create(DEV, entry("environment.created")),
      environments.update({ ...changed, version: dev.version + 2 }, entry("environment.updated")),
      environments.update({ ...changed, name: "none" }, entry("environment.updated")),
      environments.remove("dev", dev.version + 1, entry("environment.deleted")),
    ]);
    expect(refused.map(({ code }) => code)).toEqual([
      "conflict",
      ...Array.from({ length: 3 }, () => "precondition_failed" as const),
    ]);
    expect(await listed(environments)).toEqual(before);
    expect(await audit.list({}, { limit: 10 })).toHaveLength(2);
    await environments.update({ ...changed, version: dev.version + 1 }, entry("environment.updated"));
    const now = await found((await it.beside()).environments, "dev");
    expect(now).toEqual({ ...changed, version: dev.version + 1 });
    expect(await audit.list({}, { limit: 10 })).toHaveLength(3);
  });

  test(`${kind}: an environment begins at a version that none of that name has had before`, async () => {
    using it = await setup();
    const { environments } = it.store;
    const seen: number[] = [];
    for (let n = 0; n < 3; n++) {
      const { version } = await found(environments, "dev");
      await environments.update({ ...DEV, version: version + 1 }, entry("environment.updated"));
      seen.push(version, version + 1);
      await environments.remove("dev", version + 1, entry("environment.deleted"));
      await environments.create(DEV, entry("environment.created"));
    }
    expect(new Set(seen).size).toBe(6);
  });
}
