import { expect, test } from "bun:test";
import type { AuditEntry } from "../../../src/audit/audit-entry.ts";
import type { Client } from "../../../src/access/client.ts";
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

function entry(action: AuditEntry["action"]): AuditEntry {
  const actor = { client: "admin", environment: "", address: "127.0.0.1", traceId: "t" };
  return { ...actor, action, app: "", outcome: "ok", tokenDigest: "", detail: {} };
}

/** What every store of clients must do with what a client is. `kind` names it in the tests' names. */
export function clientStoreContract(kind: string, open: OpenStore): void {
  async function setup() {
    const opened = await open();
    for (const client of [PLAIN, FULL]) await opened.store.clients.create(client, entry("client.created"));
    return { ...opened, [Symbol.dispose]: () => opened.dispose() };
  }

  const byName = (clients: readonly Client[]) => clients.toSorted((a, b) => (a.name < b.name ? -1 : 1));

  test(`${kind}: P3: a client is kept with everything that was said of it, also after closing and opening`, async () => {
    using it = await setup();
    expect(byName((await it.store.clients.load()).clients)).toEqual([FULL, PLAIN]);
    expect(byName((await (await it.reopen()).clients.load()).clients)).toEqual([FULL, PLAIN]);
  });

  test(`${kind}: a change replaces everything, limits that are taken away included, and another process sees it`, async () => {
    using it = await setup();
    const changed: Client = { ...PLAIN, name: "full", updatedAt: FULL.updatedAt + 1, version: 2 };
    const revision = it.store.clients.revision();
    await it.store.clients.update(changed, entry("client.updated"));
    const beside = await it.beside();
    expect(byName((await beside.clients.load()).clients)).toEqual([changed, PLAIN]);
    expect(beside.clients.revision()).toBeGreaterThan(revision);
  });
}
