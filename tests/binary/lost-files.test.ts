import { expect, test } from "bun:test";
import { renameSync } from "node:fs";
import { join } from "node:path";
import { WX } from "../support/harness.ts";
import { ask, binary, ProcessHarness } from "../support/process-harness.ts";

test("P3: while the database is not where it was, changes and readiness are 503, tokens are still issued, and one line says so", async () => {
  await using world = new ProcessHarness(binary());
  const created = world.run(["keys", "create", "--admin"], world.variables);
  expect(await created.exited()).toBe(0);
  const headers = { "content-type": "application/json", "x-api-key": created.stdout.trim() };
  const { service, url } = await world.serve();
  const create = (client: string) => {
    const body = JSON.stringify({ client, environment: "dev", grants: [] });
    return ask(url, "/v1/clients", {}, { method: "POST", headers, body });
  };
  const token = () => ask(url, `/v1/apps/${WX.appId}/credentials/access_token`, {}, { headers });
  expect((await create("first")).status).toBe(201);
  expect((await token()).status).toBe(200);

  const database = join(world.folder, "data", "accesstoken.db");
  renameSync(database, `${database}.away`);
  for (const client of ["second", "second", "third"]) {
    const { status, msg } = await create(client);
    expect([client, status, msg]).toEqual([client, 503, expect.stringContaining(`${database}: `)]);
  }
  const { status, data } = await ask(url, "/readyz");
  expect([status, data["reasons"]]).toMatchObject([503, [{ part: "database" }]]);
  expect((await token()).status).toBe(200);
  expect(world.sandbox.calls()).toBe(1);
  expect(service.stdout.match(/"level":"error","event":"database.lost"/g)).toHaveLength(1);

  renameSync(`${database}.away`, database);
  expect((await create("second")).status).toBe(201);
});
