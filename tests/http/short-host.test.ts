import { expect, test } from "bun:test";
import { rawRequest } from "../support/raw-http.ts";
import { allRoutes } from "../support/routes.ts";
import { Harness } from "../support/harness.ts";

/** Of no to three characters, with every character that a host could have, and ports that make up a part of the length. */
const SHORT_HOSTS = ["", "x", "-", ".", "ab", "a.", "x:", "abc", "a-b", "a:1", "[::", "::1", "*"];
/** Addresses in short form, which stand in the URL in full. */
const SHORT_ADDRESSES = ["1", "127", "1.2", "0x7"];

test("the router's list has the routes that are documented and those that are not", () => {
  const patterns = allRoutes().map(({ method, pattern }) => `${method} ${pattern}`);
  expect(patterns).toContain("GET /AccessToken/getXcx");
  expect(patterns).toContain("DELETE /v1/clients/:client/keys/:key");
  expect(patterns).toContain("GET /swagger/json");
  expect(patterns.length).toBeGreaterThan(35);
});

test.each(allRoutes().map(({ method, path }) => [`${method} ${path}`]))(
  "%s is HTTP 400 for a Host of no to three characters, and nothing is routed",
  async (route) => {
    await using world = await Harness.create();
    const [method = "", path = ""] = route.split(" ");
    for (const host of SHORT_HOSTS) {
      // Behind a further segment the router would take this very route for the whole path.
      for (const target of [path, `/admin${path}`, `/a${path}`]) {
        const head = `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
        const answer = await rawRequest(world.service.url, head);
        expect([host, target, answer.status]).toEqual([host, target, 400]);
        expect(JSON.parse(answer.body)).toMatchObject({ code: 1, data: {} });
      }
    }
    expect(world.events.filter(({ type }) => type === "request.handled")).toEqual([]);
    expect(world.sandbox.calls()).toBe(0);
  },
);

test("a short form of an address as Host is no name that is known, and takes no part of the path for the path", async () => {
  await using world = await Harness.create();
  for (const host of SHORT_ADDRESSES) {
    for (const target of ["/livez", "/admin/livez"]) {
      const head = `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
      const answer = await rawRequest(world.service.url, head);
      expect([host, target, JSON.parse(answer.body)]).toMatchObject([host, target, { code: 403 }]);
    }
  }
  const routes = world.events.flatMap((event) => (event.type === "request.handled" ? [event.route] : []));
  expect(new Set(routes)).toEqual(new Set(["(none)"]));
});
