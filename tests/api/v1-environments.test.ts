import { expect, test } from "bun:test";
import { createClient } from "../support/access-harness.ts";
import { CLIENTS, ManagingHarness, NEW_BOT } from "../support/managing-harness.ts";

const ENVIRONMENTS = "/v1/environments";
const of = (name: string) => `${ENVIRONMENTS}/${name}`;

test("P7: an environment is made, changed and removed, each with its audit entry, and the same again changes nothing", async () => {
  await using at = await ManagingHarness.create();
  const made = await at.ask("PUT", of("pre"), { production: true });
  const { version } = made.data as { version: number };
  expect([made.status, made.data, made.headers.get("etag")]).toMatchObject([
    201,
    { environment: "pre", production: true, codes: "raw" },
    `"${version}"`,
  ]);
  expect(await at.audited()).toMatchObject([
    { by: "admin", action: "environment.created", detail: { of: "pre", production: true, codes: "raw" } },
  ]);
  const count = at.auditCount();
  for (const same of [{}, { production: true }, { production: true, codes: "raw" }])
    expect((await at.ask("PUT", of("pre"), same)).status).toBe(200);
  expect(at.auditCount()).toBe(count);
  const changed = await at.ask("PUT", of("pre"), { codes: "relay" }, { ifMatch: `"${version}"` });
  expect(changed.data).toMatchObject({ production: true, codes: "relay", version: version + 1 });
  expect((await at.ask("PUT", of("pre"), { codes: "raw" }, { ifMatch: `"${version}"` })).status).toBe(412);
  expect((await at.ask("DELETE", of("pre"), undefined, { ifMatch: `"${version}"` })).status).toBe(412);
  expect((await at.ask("GET", of("pre"))).data).toEqual(changed.data);
  expect((await at.ask("DELETE", of("pre"))).status).toBe(200);
  expect((await at.audited(2)).map(({ action }) => action)).toEqual([
    "environment.deleted",
    "environment.updated",
  ]);
  expect((await at.ask("GET", of("pre"))).status).toBe(404);
  expect((await at.ask("DELETE", of("pre"))).status).toBe(404);
});

test("a client's new environment is there at once, production by its name, and stays while the client is", async () => {
  await using at = await ManagingHarness.create();
  for (const [client, environment] of [
    ["one", "dev"],
    ["two", "Online"],
  ])
    await at.ask("POST", CLIENTS, { ...NEW_BOT, client, environment });
  // As if it had been made by itself: what it is decides whose codes it gets.
  expect(await at.audited()).toMatchObject([
    { action: "client.created", detail: { of: "two", new_environment: { production: true, codes: "raw" } } },
  ]);
  const { environments } = (await at.ask("GET", ENVIRONMENTS)).data;
  const shown = (environments as Record<string, unknown>[]).map(({ environment, production, codes }) => [
    environment,
    production,
    codes,
  ]);
  // The administrator of the test is of dev, too.
  expect(shown).toEqual([
    ["Online", true, "raw"],
    ["dev", false, "relay"],
  ]);
  const refused = await at.ask("DELETE", of("Online"));
  expect([refused.status, refused.msg]).toEqual([409, expect.stringContaining("clients: 1")]);
  await at.ask("PATCH", `${CLIENTS}/two`, { environment: "dev" });
  expect((await at.audited())[0]?.detail).not.toHaveProperty("new_environment");
  await at.ask("PATCH", `${CLIENTS}/two`, { environment: "Prod" });
  expect(await at.audited()).toMatchObject([{ detail: { new_environment: { codes: "raw" } } }]);
  expect((await at.ask("DELETE", of("Online"))).status).toBe(200);
});

test("whether an environment is production decides the policy of its new clients, whatever it is called", async () => {
  await using at = await ManagingHarness.create();
  await at.ask("PUT", of("live"), { production: true });
  await at.ask("PUT", of("prod"), { production: false });
  const presetOf = async (client: string, environment: string) => {
    const { data } = await at.ask("POST", CLIENTS, { ...NEW_BOT, client, environment });
    return data["policy"].preset;
  };
  expect([await presetOf("a", "live"), await presetOf("b", "prod")]).toEqual(["all", "safe"]);
  await at.ask("PUT", of("live"), { production: false });
  expect(await presetOf("c", "live")).toBe("safe");
  // What the first one was given stays, also when it is made again.
  expect((await at.ask("POST", CLIENTS, { ...NEW_BOT, client: "a", environment: "live" })).status).toBe(200);
  expect((await at.ask("GET", `${CLIENTS}/a`)).data["policy"].preset).toBe("all");
});

test("who may manage web logins alone changes codes, and neither makes, removes nor declares production", async () => {
  await using at = await ManagingHarness.create();
  const all = [{ apps: ["*"], actions: ["oauth:manage"] as const }];
  const key = await createClient(at.world, { name: "logins", grants: all });
  const one = [{ apps: [NEW_BOT.grants[0]!.apps[0]!], actions: ["oauth:manage"] as const }];
  const ofOneApp = await createClient(at.world, { name: "one", grants: one });
  const changed = await at.ask("PUT", of("dev"), { codes: "raw" }, { key });
  expect([changed.status, changed.data["codes"]]).toEqual([200, "raw"]);
  expect(await at.audited()).toMatchObject([{ by: "logins", action: "environment.updated" }]);
  const statuses = [
    at.ask("PUT", of("dev"), { production: true }, { key }),
    at.ask("PUT", of("new"), { codes: "raw" }, { key }),
    at.ask("DELETE", of("dev"), undefined, { key }),
    at.ask("PUT", of("dev"), { codes: "relay" }, { key: ofOneApp }),
    at.ask("GET", ENVIRONMENTS, undefined, { key: ofOneApp }),
  ].map(async (answer) => (await answer).status);
  expect(await Promise.all(statuses)).toEqual([403, 403, 403, 403, 403]);
});

test("an environment that is production no more gets our codes, unless somebody says otherwise", async () => {
  await using at = await ManagingHarness.create();
  const codesAfter = async (body: object) => (await at.ask("PUT", of("prod"), body)).data["codes"];
  expect(await codesAfter({})).toBe("raw");
  expect(await codesAfter({ production: false })).toBe("relay");
  expect(await at.audited()).toMatchObject([{ detail: { production: false, codes: "relay" } }]);
  expect(await codesAfter({ codes: "raw" })).toBe("raw");
  expect(await codesAfter({ production: false })).toBe("raw");
  expect(await codesAfter({ production: true })).toBe("raw");
  expect(await codesAfter({ production: false, codes: "raw" })).toBe("raw");
});

test("what can't be read of an environment opens nothing, is shown, and is mended by setting it", async () => {
  await using at = await ManagingHarness.create();
  await at.ask("PUT", of("live"), { production: true });
  at.database.run("UPDATE environments SET codes = 'both', is_production = 'x' WHERE name = 'live'");
  at.database.run("UPDATE revisions SET number = number + 1 WHERE name = 'environments'");
  at.world.clock.advance(1000);
  const shown = (await at.ask("GET", of("live"))).data;
  expect(shown).toMatchObject({ production: false, codes: "relay", damaged: ["codes"] });
  const { data } = await at.ask("POST", CLIENTS, { ...NEW_BOT, environment: "live" });
  expect(data["policy"].preset).toBe("safe");
  const mended = await at.ask("PUT", of("live"), { production: true, codes: "raw" });
  expect(mended.data).toMatchObject({ production: true, codes: "raw" });
  expect(mended.data["damaged"]).toBeUndefined();
});

test("a misspelt field, a name that is none and codes of another kind are refused", async () => {
  await using at = await ManagingHarness.create();
  for (const [name, body] of [
    ["dev", { productoin: true }],
    ["dev", { codes: "both" }],
    ["dev", { production: "yes" }],
    ["a%20b", {}],
    ["x".repeat(33), {}],
  ] as const)
    expect([name, body, (await at.ask("PUT", of(name), body)).status]).toEqual([name, body, 400]);
});
