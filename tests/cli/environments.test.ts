import { expect, test } from "bun:test";
import { ServiceError } from "../../src/errors.ts";
import { answered, type Answering, CliHarness } from "./cli-harness.ts";

const DEV = {
  environment: "dev",
  production: false,
  codes: "relay",
  created_at: 1_795_320_000_000,
  updated_at: 1_795_320_000_000,
  version: 1,
};

/** A service that has the environment `dev` alone. */
const withDev: Answering = ({ method, path, body }) => {
  if (path.startsWith("/v1/clients?")) return { clients: [] };
  if (path === "/v1/environments") return { environments: [DEV] };
  if (method === "GET" && !path.endsWith("/dev"))
    throw new ServiceError("not_found", "没有该环境 (no such environment)");
  return answered({ ...DEV, ...(body as object) });
};

test("environments are listed and shown with whether they are production and which codes they get", async () => {
  await using world = new CliHarness(withDev);
  const list = await world.run(["environments", "list"]);
  expect(list.stdout).toMatch(/^ENVIRONMENT +PRODUCTION +CODES +CREATED\ndev +no +relay +\S+\n$/);
  const shown = await world.run(["environments", "show", "dev"]);
  expect(shown.stdout).toMatch(/^environment +dev\nproduction +no\ncodes +relay\n/);
});

test("a new environment is sent with what is said of it, and a change of one that is there alone", async () => {
  await using world = new CliHarness(withDev);
  await world.run(["environments", "add", "pre"]);
  await world.run(["environments", "add", "live", "--production", "--codes", "relay"]);
  await world.run(["environments", "add", "dev"]);
  await world.run(["environments", "set", "dev", "--production", "no", "--codes", "raw"]);
  const sent = world.arrived.filter(({ method }) => method === "PUT");
  expect(sent.map(({ path, body }) => [path, body])).toEqual([
    ["/v1/environments/pre", {}],
    ["/v1/environments/live", { production: true, codes: "relay" }],
    ["/v1/environments/dev", { production: false, codes: "raw" }],
  ]);
  const misspelt = await world.run(["environments", "set", "dve", "--production", "no"]);
  expect([misspelt.code, misspelt.stderr]).toEqual([1, expect.stringContaining("no such environment")]);
  expect(misspelt.stderr).toEndWith("\naccesstoken environments list shows what is there\n");
  expect(world.asked.at(-1)).toBe("GET /v1/environments/dve");
});

test("an environment is removed once the person agrees", async () => {
  await using world = new CliHarness(withDev);
  const asked = await world.run(["environments", "remove", "dev"], { typed: "n" });
  expect([asked.code, world.asked]).toEqual([1, []]);
  await world.run(["environments", "remove", "dev", "--yes"]);
  expect(world.asked).toEqual(["DELETE /v1/environments/dev"]);
});
