import { expect } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { Harness } from "../support/harness.ts";
import { postgresTest as test } from "../support/postgres-server.ts";
import { ClusterHarness } from "./cluster-harness.ts";
import { rotatedKeys } from "./rotation.ts";

/** How often the key is changed, and which moments of kills are drawn; for every night, `ROTATION_ROUNDS=20`. */
const ROUNDS = Number(process.env["ROTATION_ROUNDS"] ?? 2);
const SEED = Number(process.env["ROTATION_SEED"] ?? 14);
/** Far more than it takes; a slow machine must not fail. */
const DEADLINE_MS = 120_000 * ROUNDS;
const ROTATE = ["master-key", "rotate"];

test(
  "P2, P3: the master key of three nodes is changed under load, whichever of them and of the commands are killed",
  async () => {
    await using cluster = await ClusterHarness.create({ apps: 4 });
    await rotatedKeys(cluster, { rounds: ROUNDS, seed: SEED });
  },
  DEADLINE_MS,
);

test("P6: one step is refused with two nodes and does it with one; the next key is never printed", async () => {
  await using cluster = await ClusterHarness.create({ apps: 1 });
  const [one, other] = await cluster.start(2);
  const run = async (args: readonly string[], env: Record<string, string> = {}) => {
    const child = cluster.run([...ROTATE, ...args], { ...cluster.variables, ...env });
    return { code: await child.exited(), output: child.stdout + child.stderr };
  };
  const refused = await run([]);
  expect(refused.code).toBe(1);
  expect(refused.output).toContain("2 nodes are live");
  for (const { service } of [one!, other!]) expect(refused.output).toContain(`(pid ${service.pid})`);
  const next = join(cluster.folder, "master.key.next");
  expect(existsSync(next)).toBeFalse();
  other!.service.signal("SIGTERM");
  await other!.service.exited();
  const changed = await run(["--json"]);
  expect(changed.code).toBe(0);
  const { new_key: id } = JSON.parse(changed.output) as { new_key: string };
  const keyIds = async () => {
    const { data } = await cluster.administer(one!, "GET", "/v1/nodes");
    return (data["nodes"] as { key_ids: string[] }[]).map(({ key_ids }) => key_ids);
  };
  await Harness.until(async () => String(await keyIds()) === id, 20_000);
  const prepared = await run(["--prepare"]);
  const key = readFileSync(next, "utf8").trim();
  expect(prepared.code).toBe(0);
  expect(prepared.output).toContain("master.key.next");
  expect(prepared.output).not.toContain(key);
  expect(statSync(next).mode & 0o777).toBe(0o600);
  const again = await run(["--prepare"]);
  expect(again.code).toBe(1);
  expect(again.output).toContain("is there already");
  expect(readFileSync(next, "utf8").trim()).toBe(key);
  expect((await run(["--prepare", "--commit"])).code).toBe(2);
  expect((await run(["--commit"], { DATABASE_URL: "file:other.db" })).code).toBe(2);
  expect(one!.service.stdout).not.toContain(key);
}, 120_000);
