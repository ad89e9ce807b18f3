import { expect, test } from "bun:test";
import { Harness } from "../support/harness.ts";
import { ask } from "../support/process-harness.ts";

const HOUR_MS = 3_600_000;

/** A service, and with which status it answers a key that expires in an hour, and the key of a client that does. */
async function setup() {
  const world = await Harness.create();
  const create = async (path: string, body: object) => {
    const headers = { "content-type": "application/json" };
    const request = new Request(`http://localhost${path}`, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    });
    return ((await (await world.service.handle(request)).json()) as { data: Record<string, string> }).data;
  };
  const expiresAt = world.clock.now() + HOUR_MS;
  await create("/v1/clients", { client: "a", environment: "dev", grants: [] });
  await create("/v1/clients", { client: "b", environment: "dev", grants: [], expires_at: expiresAt });
  const keys = [
    (await create("/v1/clients/a/keys", { expires_at: expiresAt }))["api_key"],
    (await create("/v1/clients/b/keys", {}))["api_key"],
  ];
  const codes = () =>
    Promise.all(
      keys.map(async (key) => {
        const headers = { "x-api-key": key ?? "" };
        return (await ask(world.service.url, "/v1/apps", {}, { headers })).status;
      }),
    );
  return { world, codes, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

test("a clock that was ahead for a moment ends no key", async () => {
  await using it = await setup();
  it.world.clock.jumpWall(365 * 24 * HOUR_MS);
  expect(await it.codes()).toEqual([401, 401]);
  it.world.clock.jumpWall(-365 * 24 * HOUR_MS);
  expect(await it.codes()).toEqual([200, 200]);
});

test("a clock that is set back revives neither an expired key nor the key of an expired client", async () => {
  await using it = await setup();
  const { world, codes } = it;
  expect(await codes()).toEqual([200, 200]);
  // Nobody asks in between.
  world.clock.advance(HOUR_MS);
  world.clock.jumpWall(-2 * HOUR_MS);
  expect(await codes()).toEqual([401, 401]);
});
