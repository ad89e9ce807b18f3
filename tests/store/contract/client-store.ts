import { expect, test as declared } from "bun:test";
import type { AuditEntry } from "../../../src/audit/audit-entry.ts";
import type { ApiKeyRecord, Client, ClientStore } from "../../../src/access/client.ts";
import { newApiKey } from "../../support/client-records.ts";
import { failureOf } from "../../support/refusals.ts";
import type { OpenStore } from "./open-store.ts";

const PLAIN: Client = {
  name: "plain",
  environment: "prod",
  grants: [],
  networks: [],
  expiresAt: undefined,
  rateLimit: undefined,
  concurrency: undefined,
  delivery: "real",
  policy: { preset: "all", allow: [], deny: [] },
  createdAt: 1_795_320_000_000,
  updatedAt: 1_795_320_000_000,
  version: 1,
};

const FULL: Client = {
  ...PLAIN,
  name: "full",
  environment: "dev",
  grants: [{ apps: ["wx1"], actions: ["api:call"] }],
  networks: ["10.0.0.0/8", "::1/128"],
  expiresAt: 1_900_000_000_000,
  rateLimit: 50,
  concurrency: 20,
  delivery: "virtual",
  policy: { preset: "read-only", allow: ["/wxa/msg_sec_check"], deny: ["/datacube/**"] },
};

const KEY: ApiKeyRecord = {
  prefix: "ats_0000one1",
  client: "plain",
  digest: "d1".repeat(32),
  label: "first",
  createdAt: 1_795_320_000_000,
  expiresAt: undefined,
  revokedAt: undefined,
  lastUsedAt: undefined,
};
const NEXT: ApiKeyRecord = { ...KEY, prefix: "ats_0000two2", digest: "d2".repeat(32) };

function entry(action: AuditEntry["action"]): AuditEntry {
  const actor = { client: "admin", environment: "", address: "127.0.0.1", traceId: "t" };
  return { ...actor, action, app: "", outcome: "ok", tokenDigest: "", detail: {} };
}

/** What every store of clients must do with what a client is. `kind` names it in the tests' names. */
export function clientStoreContract(kind: string, open: OpenStore, test = declared): void {
  async function setup() {
    const opened = await open();
    for (const client of [PLAIN, FULL]) await opened.store.clients.create(client, entry("client.created"));
    return { ...opened, [Symbol.dispose]: () => opened.dispose() };
  }

  const byName = (clients: readonly Client[]) => clients.toSorted((a, b) => (a.name < b.name ? -1 : 1));

  const versionsOf = async (clients: ClientStore) => {
    const loaded = (await clients.load()).clients;
    return new Map(loaded.map(({ name, version }) => [name, version]));
  };

  test(`${kind}: what is as it was is given again as the very object, what has changed anew`, async () => {
    using it = await setup();
    const { clients } = it.store;
    const load = async () => new Map((await clients.load()).clients.map((client) => [client.name, client]));
    const before = await load();
    const changed = { ...before.get("plain")!, rateLimit: 7, version: before.get("plain")!.version + 1 };
    await clients.update(changed, entry("client.updated"));
    const after = await load();
    expect(after.get("full")).toBe(before.get("full"));
    expect(after.get("plain")).toEqual(changed);
    await clients.remove("full", after.get("full")!.version, entry("client.deleted"));
    await clients.create({ ...FULL, rateLimit: 9 }, entry("client.created"));
    expect((await load()).get("full")).toMatchObject({ rateLimit: 9 });
  });

  test(`${kind}: P3: a client is kept with everything that was said of it, also after closing and opening`, async () => {
    using it = await setup();
    const loaded = byName((await it.store.clients.load()).clients);
    expect(loaded.map((client) => ({ ...client, version: 1 }))).toEqual([FULL, PLAIN]);
    expect(byName((await (await it.reopen()).clients.load()).clients)).toEqual(loaded);
  });

  test(`${kind}: a client begins at a version that none of that name has had before`, async () => {
    using it = await setup();
    const seen: number[] = [];
    for (let n = 0; n < 3; n++) {
      const version = (await versionsOf(it.store.clients)).get("plain")!;
      await it.store.clients.update({ ...PLAIN, version: version + 1 }, entry("client.updated"));
      seen.push(version, version + 1);
      await (await it.beside()).clients.remove("plain", version + 1, entry("client.deleted"));
      await it.store.clients.create(PLAIN, entry("client.created"));
    }
    expect(new Set(seen).size).toBe(6);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });

  test(`${kind}: the last uses of one client's keys are listed, and of no other's`, async () => {
    using it = await setup();
    const [used, unused, ofAnother] = [
      newApiKey("plain", "a"),
      newApiKey("plain", "b"),
      newApiKey("full", "a"),
    ];
    for (const key of [used, unused, ofAnother]) await it.store.clients.addKey(key, entry("key.created"));
    const uses = [used, ofAnother].map(({ prefix }) => ({ prefix, usedAt: 60_000 }));
    await it.store.clients.touchKeys(uses);
    const beside = (await it.beside()).clients;
    expect(await beside.lastUsesOf("plain")).toEqual([{ prefix: used.prefix, usedAt: 60_000 }]);
    expect(await beside.lastUsesOf("nobody")).toEqual([]);
  });

  test(`${kind}: a change replaces everything, limits that are taken away included, and another process sees it`, async () => {
    using it = await setup();
    const version = ((await versionsOf(it.store.clients)).get("full") ?? 0) + 1;
    const changed: Client = { ...PLAIN, name: "full", updatedAt: FULL.updatedAt + 1, version };
    await it.store.clients.update(changed, entry("client.updated"));
    const beside = await it.beside();
    const loaded = byName((await beside.clients.load()).clients);
    expect(loaded).toEqual([changed, { ...PLAIN, version: 1 }]);
  });

  test(`${kind}: P7: a change that is refused leaves neither a change nor an entry`, async () => {
    using it = await setup();
    const { clients, audit } = it.store;
    const refusals = [
      clients.create(PLAIN, entry("client.created")),
      clients.update({ ...PLAIN, version: 3 }, entry("client.updated")),
      clients.remove("plain", 2, entry("client.deleted")),
      clients.addKey({ ...KEY, client: "nobody" }, entry("key.created")),
      clients.rollKey("ats_none", 1, NEXT, entry("key.rolled")),
      clients.revokeKey("plain", "ats_none", 1, entry("key.revoked")),
    ].map(failureOf);
    expect((await Promise.all(refusals)).map(({ code }) => code)).toEqual([
      "conflict",
      "precondition_failed",
      "precondition_failed",
      "not_found",
      "not_found",
      "not_found",
    ]);
    const { clients: left, keys } = await clients.load();
    expect([byName(left).map(({ name }) => name), keys]).toEqual([["full", "plain"], []]);
    expect(await audit.list({}, { limit: 10 })).toHaveLength(2);
  });

  test(`${kind}: a key is added once by its label, rolled, used, revoked, and goes with its client`, async () => {
    using it = await setup();
    const { clients } = it.store;
    const keys = async () => (await clients.load()).keys.toSorted((a, b) => (a.prefix < b.prefix ? -1 : 1));
    await clients.addKey(KEY, entry("key.created"));
    expect((await failureOf(clients.addKey(NEXT, entry("key.created")))).code).toBe("conflict");
    const endsAt = KEY.createdAt + 60_000;
    await clients.rollKey(KEY.prefix, endsAt, NEXT, entry("key.rolled"));
    await clients.touchKeys([
      { prefix: KEY.prefix, usedAt: 9 },
      { prefix: KEY.prefix, usedAt: 7 },
    ]);
    await clients.revokeKey("plain", NEXT.prefix, 11, entry("key.revoked"));
    expect(await keys()).toEqual([
      { ...KEY, expiresAt: endsAt, replacedBy: NEXT.prefix, lastUsedAt: 9 },
      { ...NEXT, expiresAt: 11, revokedAt: 11 },
    ]);
    await clients.remove("plain", 1, entry("client.deleted"));
    const left = await clients.load();
    expect([left.clients.map(({ name }) => name), left.keys]).toEqual([["full"], []]);
  });
}
