import { expect, test } from "bun:test";
import { rawRequest } from "../support/raw-http.ts";
import { allRoutes } from "../support/routes.ts";
import { World } from "../support/world.ts";

/** Other spellings of a path, all of which Bun resolves to it. */
function spellingsOf(path: string): string[] {
  const inside = path.lastIndexOf("/");
  return [
    `/.${path}`,
    `/%2e${path}`,
    `/nope/..${path}`,
    `/nope/%2e%2e${path}`,
    `/nope/.%2E${path}`,
    `/nope\\..${path}`,
    `/swagger/..${path}`,
    `/v1/apps/example/..${path === "/" ? "/../.." : `/../..${path}`}`,
    `${path.slice(0, inside)}/./${path.slice(inside + 1)}`,
    ...(inside > 0 ? [`${path.slice(0, inside)}\\${path.slice(inside + 1)}`] : []),
  ];
}

function handledIn(world: World): string[] {
  return world.events.flatMap((event) => (event.type === "request.handled" ? [event.route] : []));
}

test.each(allRoutes().map(({ method, path }) => [`${method} ${path}`]))(
  "%s is not reached by a path that has to be resolved first",
  async (route) => {
    await using world = await World.create();
    const [method = "", path = ""] = route.split(" ");
    for (const target of spellingsOf(path)) {
      const head = `${method} ${target}?x=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
      const answer = await rawRequest(world.service.url, head);
      expect([target, answer.status]).toEqual([target, 400]);
      expect(JSON.parse(answer.body)).toMatchObject({ code: 1, data: {} });
    }
    expect(handledIn(world)).toEqual([]);
    expect(world.sandbox.calls()).toBe(0);
  },
);

test("a name of dots in a path is no way to the route above", async () => {
  await using world = await World.create();
  const targets = [
    "DELETE /v1/clients/example/keys/..",
    "DELETE /v1/clients/example/keys/%2e%2e",
    "GET /v1/apps/..",
    "GET /v1/apps/%2E",
    "GET /v1/apps/x\\..\\..\\..\\livez",
    "GET /v1/apps/../credentials/..",
  ];
  for (const target of targets) {
    const head = `${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
    expect([target, (await rawRequest(world.service.url, head)).status]).toEqual([target, 400]);
  }
  expect(handledIn(world)).toEqual([]);
});

test("dots that name no segment, or stand in the query, are what they are", async () => {
  await using world = await World.create();
  expect((await world.get("/livez?x=/../..")).status).toBe(200);
  // No app has such a name, but it is the route for names of apps that says so.
  for (const name of ["a..b", "..a", "..."]) await world.get(`/v1/apps/${name}`);
  expect(handledIn(world)).toEqual(["/livez", ...Array<string>(3).fill("/v1/apps/:app")]);
});

test("a last slash is taken no notice of, as ever", async () => {
  await using world = await World.create();
  for (const path of ["/livez", "/livez/", "/v1/apps", "/v1/apps/"]) {
    expect([path, (await world.get(path)).status]).toEqual([path, 200]);
  }
});
