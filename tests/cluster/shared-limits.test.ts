import { expect } from "bun:test";
import type { Service } from "../../src/service/running-service.ts";
import { Harness, WX } from "../support/harness.ts";
import { postgresTest as test } from "../support/postgres-server.ts";
import { ask } from "../support/process-harness.ts";
import { ClusterHarness } from "./cluster-harness.ts";
import { ClusterServices } from "./cluster-services.ts";
import { sharedLimit } from "./shared-limit.ts";

const LIMIT = 100;
const SECONDS = 2;

/** Two services, and a client that may ask a hundred times a second. */
async function setup() {
  const cluster = await ClusterServices.start(2);
  const grants = [{ apps: ["*"], actions: ["token:read"] }];
  const client = { client: "bot", environment: "dev", grants, delivery: "real", policy: { preset: "all" } };
  await cluster.manage("/v1/clients", { ...client, rate_limit: LIMIT });
  const key = String((await cluster.manage("/v1/clients/bot/keys", { label: "k" }))["api_key"]);
  const code = async ({ url }: Service) =>
    (await ask(url, "/AccessToken/getXcx", { appid: WX.appId }, { headers: { "x-api-key": key } })).code;
  for (const each of cluster.services) await Harness.until(async () => (await code(each)) === 0);
  return {
    cluster,
    /** How many requests of twice as many as are allowed, spread evenly, are answered in two seconds of the client's. */
    admitted: async (services: readonly Service[]) => {
      const codes: number[] = [];
      for (let second = 0; second < SECONDS; second++) {
        cluster.clock.advance(1000);
        const all = Array.from({ length: 2 * LIMIT }, (_, n) => code(services[n % services.length]!));
        codes.push(...(await Promise.all(all)));
      }
      return codes.filter((each) => each === 0).length;
    },
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
  };
}

function expectMet(admitted: number): void {
  expect(admitted).toBeGreaterThanOrEqual(0.9 * SECONDS * LIMIT);
  expect(admitted).toBeLessThanOrEqual(1.1 * SECONDS * LIMIT);
}

test("M9: a client's limit over all nodes is met by two of them, when a third has died, and by the one that is left", async () => {
  await using it = await setup();
  const { services, database } = it.cluster;
  await it.cluster.counted(services, 2);
  expectMet(await it.admitted(services));
  // One that asks for its share, and is killed.
  await database.unsafe(`INSERT INTO nodes SELECT 'dead', host, 0, version, key_ids, started_at, seen_at + 60000, 0, 0
    FROM nodes LIMIT 1`);
  await it.cluster.counted(services, 3);
  expect(await it.admitted(services)).toBeLessThan(0.7 * SECONDS * LIMIT);
  await database.unsafe("UPDATE nodes SET seen_at = seen_at - 80000 WHERE id = 'dead'");
  await it.cluster.counted(services, 2);
  expectMet(await it.admitted(services));
  const [left, other] = services;
  await other!.stop("test");
  await it.cluster.counted([left!], 1);
  expectMet(await it.admitted([left!]));
}, 90_000);

test("N14, M9: a client that asks three nodes in turn is answered as often as its limit says, also once one was killed", async () => {
  await using cluster = await ClusterHarness.create();
  await sharedLimit(cluster, { perSecond: LIMIT, windowMs: 4000 });
}, 240_000);
