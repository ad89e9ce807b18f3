import { expect, test } from "bun:test";
import { runHealth } from "../../src/cli/health.ts";
import { FROM_SOURCE } from "../support/child.ts";
import { ManualTerminal } from "../support/manual-terminal.ts";
import { ProcessHarness } from "../support/process-harness.ts";
import { answered, CliHarness, runAlone } from "./cli-harness.ts";

test("health asks the service of this configuration, at its one address, and says in a line how it is", async () => {
  await using harness = new ProcessHarness(FROM_SOURCE);
  const { service, url } = await harness.serve({ HOST: "127.0.0.2" });
  const env = { HOST: "127.0.0.2", PORT: new URL(url).port };
  const health = async (...args: string[]) => {
    await using child = harness.run(["health", ...args], env);
    return [await child.exited(), child.stdout, child.stderr];
  };
  expect(await health()).toEqual([0, `alive: ${url}\n`, ""]);
  expect(await health("--ready")).toEqual([0, `ready: ${url}\n`, ""]);
  service.signal("SIGTERM");
  await service.exited();
  expect(await health()).toEqual([1, "", expect.stringMatching(/^accesstoken: can't connect to .+\n$/)]);
});

test("behind a proxy on this machine the service is asked for this machine, and says whether it is ready", async () => {
  await using harness = new ProcessHarness(FROM_SOURCE);
  const { url } = await harness.serve({ HOST: "127.0.0.1", TRUSTED_PROXIES: "127.0.0.1/32" });
  const env = { HOST: "127.0.0.1", TRUSTED_PROXIES: "127.0.0.1/32", PORT: new URL(url).port };
  await using child = harness.run(["health", "--ready"], env);
  expect([await child.exited(), child.stdout, child.stderr]).toEqual([0, `ready: ${url}\n`, ""]);
});

test("a port that the system chose is not guessed", async () => {
  await using harness = new ProcessHarness(FROM_SOURCE);
  await using child = harness.run(["health"], { PORT: "0" });
  expect([await child.exited(), child.stdout]).toEqual([1, ""]);
  expect(child.stderr).toMatch(/^accesstoken: PORT: 0 is a port that the system chooses: .+\n$/);
});

test("health says in one line why a service is not ready, and is content with one that lives", async () => {
  const reasons = [{ message: "磁盘已满 (the disk is full)" }, { message: "正在停止 (it is stopping)" }];
  await using world = new CliHarness(({ path }) =>
    path === "/livez"
      ? answered({})
      : Response.json({ code: 503, msg: "未就绪", data: { reasons }, trace_id: "t" }, { status: 503 }),
  );
  expect(await runAlone(["health", "--url", world.url])).toMatchObject({ code: 0, stderr: "" });
  const { code, stdout, stderr } = await runAlone(["health", "--url", world.url, "--ready"]);
  const line = "accesstoken: not ready: the disk is full; it is stopping\n";
  expect([code, stdout, stderr]).toEqual([1, "", line]);
  expect(world.asked).toEqual(["GET /livez", "GET /readyz"]);
  expect(world.arrived.every(({ headers }) => !headers.has("authorization"))).toBe(true);
});

test.each([401, 403])(
  "a service that answers %d to this address is alive, and nobody knows whether it is ready",
  async (status) => {
    await using world = new CliHarness(() =>
      Response.json(
        { code: status, msg: "需要密钥 (a key is needed)", data: null, trace_id: "t" },
        { status },
      ),
    );
    expect(await runAlone(["health", "--url", world.url])).toMatchObject({ code: 0, stderr: "" });
    const { code, stderr } = await runAlone(["health", "--url", world.url, "--ready"]);
    expect([code, stderr]).toEqual([1, expect.stringContaining("TRUSTED_NETWORKS")]);
  },
);

test("another program on the port is not taken for the service", async () => {
  await using world = new CliHarness(() => new Response("<h1>It works!</h1>"));
  const { code, stderr } = await runAlone(["health", "--url", world.url]);
  expect([code, stderr]).toEqual([1, expect.stringMatching(/^accesstoken: .*not this service's.*\n$/)]);
});

test.each(["its head", "its body"])("a service that keeps %s back is given up", async (kept) => {
  await using world = new CliHarness(() =>
    kept === "its head"
      ? Promise.withResolvers<Response>().promise
      : new Response(new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(1)) })),
  );
  const asked = runHealth({ url: world.url, mustBeReady: false, answerMs: 50 }, new ManualTerminal());
  expect(await asked.catch((error: unknown) => error)).toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("did not answer in time"),
  });
});
