import { expect, test } from "bun:test";
import { rawGet } from "../support/raw-http.ts";
import { Harness, WX } from "../support/harness.ts";

test("P7: who holds the app's secret and comes from elsewhere is counted as served, and not as refused", async () => {
  await using world = await Harness.create({ environment: { TRUSTED_NETWORKS: "127.0.0.1/32" } });
  const path = `/AccessToken/getXcx?appid=${WX.appId}&secret=${WX.secret}`;
  const { body } = await rawGet(world.service.url, path, ["Host: localhost"], "127.0.0.2");
  expect(JSON.parse(body)).toMatchObject({ code: 0 });
  expect(world.events.filter(({ type }) => type === "access.denied")).toEqual([]);
  // A stop writes down what was counted.
  await world.stop();
  await world.start();
  const { data } = await world.administer("/v1/audit/usage");
  expect(data["usage"]).toMatchObject([
    { client: "(app secret)", action: "token:read", app: WX.appId, count: 1 },
  ]);
  expect((await world.administer("/v1/audit/denials")).data["denials"]).toEqual([]);
});
