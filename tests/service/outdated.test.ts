import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { NEWEST_MIGRATION } from "../../src/store/sqlite/open-database.ts";
import { EventStreamReader } from "../support/event-stream.ts";
import { Harness } from "../support/harness.ts";

test("a process that a newer version has outdated ends its streams, whose readers come back to another", async () => {
  await using world = await Harness.create();
  using stream = await EventStreamReader.open(world.service.url);
  using database = new Database(world.databasePath);
  database.run("UPDATE revisions SET number = ? WHERE name = 'compatible_from'", [NEWEST_MIGRATION + 1]);
  world.clock.advance(1000);
  await stream.ended();
});

test("P2: every request to a process that a newer version has outdated is 503, on every path", async () => {
  await using world = await Harness.create();
  expect((await fetch(`${world.service.url}/livez`)).status).toBe(200);
  using database = new Database(world.databasePath);
  database.run("UPDATE revisions SET number = ? WHERE name = 'compatible_from'", [NEWEST_MIGRATION + 1]);
  world.clock.advance(1000);
  await Harness.until(() => world.events.some(({ type }) => type === "service.outdated"));
  for (const path of [
    "/livez",
    "/cgi-bin/token",
    "/v1/apps",
    "/AccessToken/getXcx",
    "/gateway/wx1/cgi-bin/x",
  ]) {
    const { status, headers } = await fetch(`${world.service.url}${path}`);
    expect([path, status, headers.get("connection")]).toEqual([path, 503, "close"]);
  }
  expect(world.events.filter(({ type }) => type === "service.outdated")).toHaveLength(1);
});
