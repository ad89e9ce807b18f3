import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { join } from "node:path";
import { NEWEST_MIGRATION } from "../../src/store/sqlite/open-database.ts";
import { WX } from "../support/harness.ts";
import { ask, binary, ProcessHarness } from "../support/process-harness.ts";

/** A running service, and the transaction in which a newer version migrates its database. */
async function setup() {
  const world = new ProcessHarness(binary());
  const { service, url } = await world.serve();
  const token = () => ask(url, "/AccessToken/getXcx", { appid: WX.appId });
  const migrate = (name: string, compatibleFrom: number) => {
    using database = new Database(join(world.folder, "data", "accesstoken.db"));
    database.run("PRAGMA busy_timeout = 5000");
    database
      .transaction(() => {
        database.run("INSERT INTO migrations (name, applied_at) VALUES (?, 1)", [name]);
        database.run("CREATE TABLE later (id INTEGER)");
        database.run("UPDATE revisions SET number = ? WHERE name = 'compatible_from'", [compatibleFrom]);
      })
      .immediate();
  };
  return { world, service, url, token, migrate, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

test("P2: a running process stops within a second when a newer version's migration makes its answers wrong", async () => {
  let tookMs = Infinity;
  // Up to three times, because a busy machine may hold the process up once.
  for (let round = 1; round <= 3 && tookMs >= 3000; round++) {
    await using it = await setup();
    expect((await it.token()).code).toBe(0);
    it.migrate("9999_later", NEWEST_MIGRATION + 1);
    const migratedAt = performance.now();
    expect(await it.service.exited()).toBe(3);
    tookMs = performance.now() - migratedAt;
    expect(it.service.stdout).toContain('"level":"error","event":"service.outdated"');
    expect(it.service.stdout).toContain('"event":"service.stopping","reason":"outdated"');
    const again = it.world.run(["serve"], it.world.variables);
    expect(await again.exited()).toBe(1);
    expect(again.stderr).toContain("made by a newer version; upgrade this program");
  }
  expect(tookMs).toBeLessThan(3000);
});
