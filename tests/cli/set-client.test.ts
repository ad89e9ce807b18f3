import { expect, test } from "bun:test";
import { ServiceError } from "../../src/errors.ts";
import { answered, type Arrived, CliHarness } from "./cli-harness.ts";

const POLICY = { preset: "no-messaging", allow: ["/wxa/msg_sec_check"], deny: ["/datacube/**"] };

/** A client as the service shows it. */
function client(more: object = {}) {
  const instants = { created_at: Date.UTC(2027, 0, 1), updated_at: Date.UTC(2027, 0, 2) };
  const reach = { delivery: "virtual", policy: POLICY };
  return {
    client: "bot",
    environment: "dev",
    grants: [],
    networks: [],
    ...reach,
    ...instants,
    version: 7,
    ...more,
  };
}

/** A service with the client, in which each change is made as it comes. */
function worldWithClient(): CliHarness {
  return new CliHarness(({ method, body }) =>
    method === "GET" ? answered(client(), { etag: '"7"' }) : client(body as object),
  );
}

async function bodyOf(options: string): Promise<Arrived["body"]> {
  await using world = worldWithClient();
  const { code } = await world.run(["clients", "set", "bot", ...options.split(" ")]);
  expect(code).toBe(0);
  expect(world.asked).toEqual(["GET /v1/clients/bot", "PATCH /v1/clients/bot"]);
  expect(world.arrived[1]?.headers.get("if-match")).toBe('"7"');
  return world.arrived[1]?.body;
}

test.each([
  ["--environment st", { environment: "st" }],
  ["--delivery real", { delivery: "real" }],
  ["--rate 50", { rate_limit: 50 }],
  ["--rate any", { rate_limit: null }],
  ["--concurrency 20", { concurrency: 20 }],
  ["--concurrency any", { concurrency: null }],
  ["--expires 2027-01-31T00:00Z", { expires_at: Date.UTC(2027, 0, 31) }],
  ["--expires never", { expires_at: null }],
  ["--network 10.0.0.0/8 --network ::1", { networks: ["10.0.0.0/8", "::1"] }],
  ["--network any", { networks: [] }],
  ["--policy all --delivery real", { policy: { ...POLICY, preset: "all" }, delivery: "real" }],
  ["--policy read-only", { policy: { ...POLICY, preset: "read-only" } }],
  ["--allow /a,/b/**", { policy: { ...POLICY, allow: ["/a", "/b/**"] } }],
  [
    "--test-openids oListed-0000000000000000001x",
    { policy: { ...POLICY, test_openids: ["oListed-0000000000000000001x"] } },
  ],
  ["--test-openids none", { policy: { ...POLICY, test_openids: [] } }],
  ["--allow none", { policy: { ...POLICY, allow: [] } }],
  ["--policy all --allow none --deny none", { policy: { preset: "all", allow: [], deny: [] } }],
])("clients set with %s changes just that, under the version that was seen", async (options, body) => {
  expect(await bodyOf(options)).toEqual(body);
});

test("the client is shown as it is afterwards", async () => {
  await using world = worldWithClient();
  const { stdout } = await world.run(["clients", "set", "bot", "--policy", "none", "--concurrency", "4"]);
  expect(stdout).toMatch(
    /\nconcurrency +4\ndelivery +virtual\npolicy +none\nallow +\/wxa\/msg_sec_check\ndeny +\/datacube\/\*\*\n/,
  );
  const json = await world.run(["clients", "set", "bot", "--rate", "5", "--json"]);
  expect(JSON.parse(json.stdout)).toMatchObject({ client: "bot", rate_limit: 5 });
});

test("what the service refuses is told, and the client is asked for once", async () => {
  await using world = new CliHarness(({ method }) => {
    if (method === "GET") return answered(client(), { etag: '"7"' });
    throw new ServiceError(
      "invalid_parameter",
      "真实token不受接口策略约束 (no policy can restrict a real token)",
    );
  });
  const { code, stderr } = await world.run(["clients", "set", "bot", "--delivery", "real"]);
  expect(code).toBe(1);
  expect(stderr).toContain("no policy can restrict a real token");
  expect(world.asked).toEqual(["GET /v1/clients/bot", "PATCH /v1/clients/bot"]);
});

test.each([
  ["bot", "nothing to change is given"],
  ["Bot --rate 1", "lower-case"],
  ["bot --rate none", "must be an integer from 1"],
  ["bot --concurrency 100001", "must be an integer from 1 to 100000"],
  ["bot --delivery none", "--delivery: "],
  ["bot --policy most", "--policy: "],
  ["bot --allow any", "--allow: "],
  ["bot --deny /a/*", "--deny: "],
  ["bot --test-openids gh_0123456789ab", "--test-openids: "],
  ["bot --network any --network ::1", "--network: "],
  ["bot --expires any", "must be a time"],
])("clients set %s is exit code 2, and nothing is asked", async (args, line) => {
  await using world = worldWithClient();
  const { code, stderr } = await world.run(["clients", "set", ...args.split(" ")]);
  expect(code).toBe(2);
  expect(stderr.split("\n")[1]).toContain(line);
  expect(world.arrived).toEqual([]);
});
