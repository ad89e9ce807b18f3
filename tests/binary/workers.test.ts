import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { join } from "node:path";
import { Gate } from "../../src/sandbox/fault.ts";
import { type Exposition, parseExposition } from "../ops/prometheus-text.ts";
import { Connection } from "../support/connection.ts";
import { ask, binary, ProcessHarness } from "../support/process-harness.ts";
import { isRunning, socketsOf } from "../support/worker-processes.ts";
import { Harness, WX } from "../support/harness.ts";
import { WorkersHarness, type WorkersWorldOptions } from "./workers-harness.ts";

const PATH = "/AccessToken/getXcx?appid=wx0000000000000000";
const CLASSIC = { WEIXIN_TOKEN_MODE: "classic" };
const CLASSIC_CALL = "/cgi-bin/token";
/** A worker that dies for the first, second and third time is started again after so long. */
const BACK_OFF_MS = [100, 200, 400];
const LEASE_MS = 10_000;

function setup(options?: WorkersWorldOptions): Promise<WorkersHarness> {
  return WorkersHarness.start(options);
}

/** Every worker answers some of a hundred connections that stay open. */
async function expectAllToAnswer({ url, processes }: WorkersHarness): Promise<void> {
  const workers = processes.running();
  const before = workers.map(({ pid }) => socketsOf(pid));
  const connections = await Connection.openMany(url, 100);
  for (const connection of connections) connection.send(PATH);
  const answers = await Promise.all(connections.map(({ answer }) => answer));
  expect(answers.filter(({ code }) => code !== 0)).toEqual([]);
  const grown = workers.map(({ pid }, n) => socketsOf(pid) - (before[n] ?? 0));
  for (const connection of connections) connection.close();
  for (const count of grown) expect(count).toBeGreaterThan(0);
}

test.each([2, 4])("%d workers answer on one port from one database", async (count) => {
  await using at = await setup({ workers: count });
  expect(at.processes.running().map(({ index }) => index)).toEqual([...Array(count).keys()]);
  expect((await at.tokens(20)).size).toBe(1);
  await expectAllToAnswer(at);
  expect(at.sandbox.calls()).toBe(1);
});

test("a worker that is killed is started again, each time a little later, and the service answers meanwhile", async () => {
  await using at = await setup();
  const before = await at.tokens(20);
  for (const [times, backOffMs] of BACK_OFF_MS.entries()) {
    const [victim, other] = at.processes.running();
    at.processes.signal(victim?.pid, "SIGKILL");
    const killedAt = performance.now();
    await Harness.until(() => !isRunning(victim?.pid ?? 0));
    do expect(await at.tokens(5)).toEqual(before);
    while (at.processes.running().length < 2);
    expect(performance.now() - killedAt).toBeGreaterThan(backOffMs);
    await at.started(2 + times + 1);

    const [successor, same] = at.processes.running();
    expect([successor?.index, same]).toEqual([0, other]);
    expect(successor?.pid).not.toBe(victim?.pid);
    await expectAllToAnswer(at);
  }
  expect(
    at.service.stderr.match(/^accesstoken: .*worker 1 ended by SIGKILL, .*memory.*; it is started again/gm),
  ).toHaveLength(3);
  expect(at.sandbox.calls()).toBe(1);
});

test("SIGTERM to the supervisor lets what runs finish, ends every worker and exits 0", async () => {
  await using at = await setup({ workers: 4 });
  const gate = new Gate();
  at.sandbox.inject({ kind: "gate", gate, times: 1 });
  const underWay = Promise.all(Array.from({ length: 20 }, () => at.get()));
  await gate.arrived();
  await Harness.until(async () => (await waiters(at.url)) === 20);
  at.service.signal("SIGTERM");
  await at.service.find(/(?:"event":"service\.stopping"[^]*){4}/);
  gate.open();

  expect((await underWay).map(({ code }) => code)).toEqual(Array<number>(20).fill(0));
  expect(await at.service.exited()).toBe(0);
  expect(at.processes.left()).toEqual([]);
  expect(at.service.stdout.match(/"event":"service\.stopped"/g)).toHaveLength(4);
  expect(at.service.stderr).not.toContain("started again");
});

test("workers whose supervisor was killed end by themselves, and a new start finds everything", async () => {
  await using at = await setup();
  const before = await at.tokens(5);
  at.service.signal("SIGKILL");
  await at.allEnded();
  expect(await at.get().catch((error: unknown) => error)).toBeInstanceOf(Error);

  const env = { WEIXIN_SECRET_wx0000000000000000: "secret-of-0", PORT: new URL(at.url).port };
  const again = await at.world.serve(env, ["--workers", "2"]);
  const { data } = await ask(again.url, PATH);
  expect(new Set([data["access_token"]])).toEqual(before);
  expect(at.sandbox.calls()).toBe(1);
  again.service.signal("SIGTERM");
  expect(await again.service.exited()).toBe(0);
});

test("P2: what was cleared through one worker is served by none 50 ms later", async () => {
  await using at = await setup({ workers: 4, apps: 5, env: CLASSIC });
  for (const appid of [
    "wx0000000000000000",
    "wx0000000000000001",
    "wx0000000000000002",
    "wx0000000000000003",
    "wx0000000000000004",
  ]) {
    const [before, ...more] = await at.tokens(60, appid);
    expect(more).toEqual([]);
    expect((await ask(at.url, "/AccessToken/clearXcx", { appid })).code).toBe(0);
    await Bun.sleep(50);
    const after = await at.tokens(200, appid);
    expect([after.size, after.has(String(before))]).toEqual([1, false]);
  }
  expect(at.sandbox.calls(CLASSIC_CALL)).toBe(10);
});

test("a second clear within 10 s is refused by every worker, and changes nothing", async () => {
  await using at = await setup({ workers: 4, env: CLASSIC });
  await at.tokens(1);
  const clear = () => ask(at.url, "/AccessToken/clearXcx", { appid: "wx0000000000000000" });
  expect((await clear()).code).toBe(0);
  // Until then another worker may still hand out what was cleared.
  await Bun.sleep(50);
  const standing = await at.tokens(40);
  const again = await Promise.all(Array.from({ length: 40 }, clear));
  expect(again.map(({ code }) => code)).toEqual(Array<number>(40).fill(429));
  expect(await at.tokens(40)).toEqual(standing);
  expect(at.sandbox.calls(CLASSIC_CALL)).toBe(2);
});

// These two wait ten seconds each.
test.concurrent(
  "what one worker obtained is renewed although nobody asks again, and its uses are written while it runs",
  async () => {
    await using at = await setup({ apps: 24, env: CLASSIC, tokenLifeSeconds: 10 });
    const [first] = at.processes.running().map(({ pid }) => pid);
    // While the first one is stopped, it is the second that answers.
    await at.pause(first);
    const obtain = async (n: number): Promise<void> => {
      for (;;) {
        const connection = await Connection.open(at.url);
        connection.send(`/AccessToken/getXcx?appid=wx${String(n).padStart(16, "0")}`);
        const answer = await Promise.race([connection.answer, Bun.sleep(300)]);
        connection.close();
        if (answer) return expect(answer.code).toBe(0);
      }
    };
    await Promise.all(Array.from({ length: 24 }, (_, n) => obtain(n)));
    expect(at.sandbox.calls(CLASSIC_CALL)).toBe(24);
    at.processes.signal(first, "SIGCONT");

    using database = new Database(join(at.world.folder, "data", "accesstoken.db"), { readonly: true });
    const used = database.query("SELECT 1 FROM credentials WHERE used_at IS NOT NULL");
    await Harness.until(() => used.all().length === 24);
    await Harness.until(() => at.sandbox.calls(CLASSIC_CALL) > 24);
    const renewed = database.query("SELECT 1 FROM credentials WHERE issued_at > first_saved_at + 5000");
    await Harness.until(() => renewed.all().length === 24);
  },
);

test.concurrent(
  "P5: a worker that is stopped past its lease and continued stores and serves nothing stale",
  async () => {
    await using at = await setup({ env: CLASSIC });
    const [holder, other] = at.processes.running().map(({ pid }) => pid);
    const gate = new Gate();
    at.sandbox.inject({ kind: "gate", gate, endpoint: CLASSIC_CALL, times: 1 });
    // While the other one is stopped, it is the holder that answers.
    await at.pause(other);
    const connections = await Connection.openMany(at.url, 40);
    for (const connection of connections) connection.send(PATH);
    await gate.arrived();
    await at.pause(holder);
    at.processes.signal(other, "SIGCONT");
    // What WeChat answered to the holder is on its way; it lies there until the holder runs again.
    gate.open();
    const stoppedAt = performance.now();
    let standing: string | undefined;
    while (standing === undefined) {
      const connection = await Connection.open(at.url);
      connection.send(PATH);
      const answer = await Promise.race([connection.answer, Bun.sleep(500)]);
      connection.close();
      standing = answer?.data.access_token;
      if (performance.now() - stoppedAt > LEASE_MS + 60_000) throw new Error("nobody took the lease over");
    }
    expect(performance.now() - stoppedAt).toBeGreaterThan(LEASE_MS - 1000);
    expect(at.sandbox.calls(CLASSIC_CALL)).toBe(2);
    at.processes.signal(holder, "SIGCONT");

    const late = await Promise.all(connections.map(({ answer }) => answer));
    const handedOut = late.filter(({ code }) => code === 0).map(({ data }) => data.access_token);
    expect(handedOut.filter((token) => token !== standing)).toEqual([]);
    for (const { code } of late) expect([0, 502, 503, 504]).toContain(code);
    await expectAllToAnswer(at);
    expect(await at.tokens(100)).toEqual(new Set([standing]));
    expect(at.sandbox.accepts(standing)).toBe(true);
    expect(at.sandbox.calls(CLASSIC_CALL)).toBe(2);
    for (const connection of connections) connection.close();
  },
);

test("the metrics of any worker are the sum over all", async () => {
  await using at = await setup({ workers: 4 });
  await at.tokens(300);
  for (let n = 0; n < 12; n++) {
    const { series } = parseExposition(await (await fetch(`${at.url}/metrics`, { keepalive: false })).text());
    expect(tokensServed(series)).toBe(300);
    const calls = series.filter(({ name }) => name === "accesstoken_upstream_calls_total");
    expect(calls.reduce((sum, { value }) => sum + value, 0)).toBe(1);
    const workers = series.filter(({ name }) => name === "accesstoken_resident_memory_bytes");
    expect(new Set(workers.map(({ labels }) => labels["worker"]))).toEqual(new Set(["1", "2", "3", "4"]));
    expect(workers).toHaveLength(4);
  }
});

test("no counter goes down while a worker does not answer", async () => {
  await using at = await setup({ workers: 2 });
  await at.tokens(100);
  const served = async () => {
    for (;;) {
      // A connection may be given to the worker that is stopped.
      const signal = AbortSignal.timeout(4000);
      const answer = await fetch(`${at.url}/metrics`, { keepalive: false, signal }).catch(() => undefined);
      if (answer) return tokensServed(parseExposition(await answer.text()).series);
    }
  };
  await Harness.until(async () => (await served()) === 100);
  for (const { pid } of at.processes.running()) {
    await at.pause(pid);
    const meanwhile = await served();
    at.processes.signal(pid, "SIGCONT");
    expect(meanwhile).toBe(100);
  }
});

function tokensServed(series: Exposition["series"]): number {
  return series
    .filter(
      ({ name, labels }) =>
        name === "accesstoken_requests_total" && labels["route"] === "/AccessToken/getXcx",
    )
    .reduce((sum, { value }) => sum + value, 0);
}

async function waiters(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`, { keepalive: false })).text();
  return parseExposition(text).value("accesstoken_refresh_waiters");
}

/** Starts the service with two workers, which must end with exit code 1 and one line on stderr; that line. */
async function refusalToStart(world: ProcessHarness, env: Record<string, string>): Promise<string> {
  const child = world.run(["serve", "--workers", "2"], { ...world.variables, ...env });
  expect([await child.exited(), child.stdout]).toEqual([1, ""]);
  expect(child.stderr).toMatch(/^accesstoken: [^\n]+\n$/);
  return child.stderr;
}

test("a port that is taken stops the start of workers with one line, be it taken by one process or by several", async () => {
  await using world = new ProcessHarness(binary());
  for (const options of [[], ["--workers", "2"]]) {
    const { service, url } = await world.serve({}, options);
    await ask(url, "/AccessToken/getXcx", { appid: WX.appId });
    const { port } = new URL(url);
    const DATABASE_URL = "file:other/accesstoken.db";
    // The first start there makes the key and says so.
    const first = world.run(["serve"], { ...world.variables, DATABASE_URL });
    await first.serviceUrl();
    first.signal("SIGTERM");
    expect(await first.exited()).toBe(0);
    const line = await refusalToStart(world, { PORT: port, DATABASE_URL });
    expect(line).toContain(`PORT: 端口${port}已被占用`);
    expect((await ask(url, "/")).code).toBe(0);
    service.signal("SIGTERM");
    expect(await service.exited()).toBe(0);
  }
});

test("a wrong key or an address that is not ours stops the start of workers with one line", async () => {
  await using world = new ProcessHarness(binary());
  const { service } = await world.serve();
  service.signal("SIGTERM");
  expect(await service.exited()).toBe(0);
  expect(await refusalToStart(world, { MASTER_KEY: "ab".repeat(32) })).toMatch(/MASTER_KEY.*与数据库不匹配/);
  expect(await refusalToStart(world, { HOST: "192.0.2.1" })).toStartWith("accesstoken: HOST: ");
  expect(await refusalToStart(world, { TRUSTED_NETWORKS: "zzz" })).toStartWith(
    "accesstoken: TRUSTED_NETWORKS: ",
  );
});
