import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { StoreFolder } from "../support/store-folder.ts";

const ALL = { preset: "all", allow: [], deny: [] };
const NONE = { preset: "none", allow: [], deny: [] };
const AGENT = { client: "admin", environment: "", address: "127.0.0.1", traceId: "t" };

/** A store with a client that gets real tokens, whose row is then changed behind its back. */
async function setup(change: string) {
  const files = new StoreFolder();
  const { clients } = await files.open();
  const limits = { networks: [], expiresAt: undefined, rateLimit: undefined, concurrency: undefined };
  const reach = { delivery: "real", policy: { preset: "all", allow: [], deny: [] } } as const;
  const made = { createdAt: 1, updatedAt: 1, version: 1 };
  await clients.create(
    { name: "bot", environment: "prod", grants: [], ...limits, ...reach, ...made },
    { ...AGENT, action: "client.created", app: "", outcome: "ok", tokenDigest: "", detail: {} },
  );
  using database = new Database(files.path);
  database.run(`UPDATE clients SET ${change}`);
  const [client] = (await clients.load()).clients;
  return { client, [Symbol.dispose]: () => files[Symbol.dispose]() };
}

test.each([
  ["policy = ''", NONE],
  ["policy = '{'", NONE],
  ['policy = \'{"preset":"most","allow":[],"deny":[]}\'', NONE],
  ['policy = \'{"preset":"all"}\'', NONE],
  ['policy = \'{"preset":"all","allow":[],"deny":["/a"]}\'', { ...ALL, deny: ["/a"] }],
  ["delivery = ''", ALL],
  ["delivery = 'REAL'", ALL],
])(
  "a client whose row was changed to %s gets virtual tokens, and no more paths than it had",
  async (change, policy) => {
    using it = await setup(change);
    expect(it.client).toMatchObject({ delivery: "virtual", policy });
  },
);

test("a client from before there were policies gets real tokens and may call everything", async () => {
  using it = await setup("rate_limit = 5");
  expect(it.client).toMatchObject({ rateLimit: 5, delivery: "real", policy: ALL });
});
