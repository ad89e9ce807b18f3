import type { Clock } from "../../src/clock.ts";
import { comesTrue, must } from "../faults/fault-case.ts";
import { ClusterHarness, type ClusterNode, type ClusterOptions, tokenAt } from "./cluster-harness.ts";
import { secretOf } from "./recording-upstream.ts";

const LIFE_MS = 7_200_000;
/** A token is renewed when so much of its life is left. */
const LEAD_MS = 285_000;
/** Renewals begin when all nodes are there. */
const START_MS = 5000;
const MAX_CALLS_PER_LIFE = 1.05;
/** So many tokens are fetched at once, and end at the same time. */
const BATCH = 50;
const PATIENCE_MS = 60_000;
/** Every node knows within so long of a token that was renewed. */
const RENEWED_MS = 5000;
const READERS_PER_NODE = 4;
const READ_EVERY_MS = 20;
const LOOK_MS = 500;
const STABLE_TOKEN = "/cgi-bin/stable_token";

/** How many tokens become due, evenly within how long, and how often a node dies meanwhile. */
export interface RenewalOptions {
  readonly apps: number;
  readonly windowMs: number;
  readonly killEveryMs: number;
}

/**
 * N12, M4: tokens are renewed one after the other while a node is killed every few seconds. None lapses, no read of one
 * fails, and hardly a call is made twice.
 *
 * Lives are two hours, as WeChat's: that most of them have passed is written into the database before the nodes start.
 */
export async function renewedThroughKills(
  options: Pick<ClusterOptions, "program">,
  { apps, windowMs, killEveryMs }: RenewalOptions,
): Promise<string> {
  const names = Array.from({ length: apps }, (_, n) => `wx${String(n).padStart(16, "0")}`);
  const weixinApps = names.map((appId) => ({ appId, secret: secretOf(0) }));
  const time = new WeixinTime();
  await using cluster = await ClusterHarness.create({
    ...options,
    apps: 0,
    sandbox: { weixinApps, clock: time },
  });
  // In a file, because an environment is not that large.
  const lines = names.map((app) => `WEIXIN_SECRET_${app}=${secretOf(0)}\n`);
  cluster.write(".env", lines.join(""));
  const batches = Math.ceil(apps / BATCH);
  const batchMs = windowMs / batches;
  await fetchAll(cluster, names, (batch) => time.set(batch * batchMs));
  time.set(LIFE_MS - LEAD_MS - START_MS);
  time.run();
  await pass(cluster, batchMs);
  const before = cluster.sandbox.calls(STABLE_TOKEN);
  const nodes = await cluster.start(3, UNLIMITED);
  const over = new AbortController();
  const killing = killInTurn(cluster, nodes, killEveryMs, over.signal);
  const reading = nodes.flatMap((_, n) =>
    Array.from({ length: READERS_PER_NODE }, () => readAny(cluster, nodes, n, names, over.signal)),
  );
  let leastMs = Infinity;
  let left = apps;
  const startedAt = performance.now();
  for (; left > 0; await Bun.sleep(LOOK_MS)) {
    const found = await standing(cluster);
    left = found.left;
    leastMs = Math.min(leastMs, found.leastMs);
    must(found.count === apps && leastMs > 0, `of ${apps} tokens ${apps - found.count} lapsed`);
    must(performance.now() - startedAt < windowMs + LEAD_MS, `${left} tokens were not renewed`);
  }
  over.abort();
  const kills = await killing;
  const reads = (await Promise.all(reading)).reduce((sum, each) => sum + each, 0);
  const calls = cluster.sandbox.calls(STABLE_TOKEN) - before;
  must(calls <= MAX_CALLS_PER_LIFE * apps, `${calls} upstream calls for ${apps} lives`);
  return `${apps} tokens renewed, ${kills} kills, ${calls} upstream calls, ${reads} reads, at least ${Math.round(leastMs / 1000)} s left`;
}

const UNLIMITED = { ANONYMOUS_RATE_LIMIT: "0" };

/** WeChat's time: set by hand at first, then it runs. */
class WeixinTime implements Clock {
  #ms = 0;
  #since: number | undefined;

  set(ms: number): void {
    this.#ms = ms;
  }

  run(): void {
    this.#since = performance.now();
  }

  now(): number {
    return Date.now();
  }

  monotonic(): number {
    return this.#ms + (this.#since === undefined ? 0 : performance.now() - this.#since);
  }

  sleep(ms: number): Promise<void> {
    return Bun.sleep(ms);
  }
}

/** Has a node fetch the tokens of all apps, a batch at a time, and stops it. */
async function fetchAll(
  cluster: ClusterHarness,
  names: readonly string[],
  onBatch: (batch: number) => void,
): Promise<void> {
  const [first] = await cluster.start(1, UNLIMITED);
  for (let n = 0; n < names.length; n += BATCH) {
    onBatch(n / BATCH);
    const apps = names.slice(n, n + BATCH);
    const fetched = apps.map((app) => comesTrue(PATIENCE_MS, () => isGood(cluster, first!, app)));
    must((await Promise.all(fetched)).every(Boolean), "a token could not be fetched");
  }
  first!.service.signal("SIGTERM");
  await first!.service.exited();
}

/** Lets as much of each life pass as has at WeChat. */
async function pass(cluster: ClusterHarness, batchMs: number): Promise<void> {
  const now = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
  const batch = `substr(app_id, 3)::int / ${BATCH}`;
  const end = `${now} + ${LEAD_MS + START_MS} + (${batch} * ${batchMs})::bigint`;
  await cluster.query(`UPDATE credentials SET issued_at = issued_at - ms, expires_at = expires_at - ms,
    renew_at = renew_at - ms FROM (SELECT app_id AS id, expires_at - (${end}) AS ms FROM credentials) AS passed
    WHERE app_id = id`);
}

/** How many tokens are valid, how many of them are yet to be renewed, and what is left of the one that ends first. */
async function standing(cluster: ClusterHarness) {
  const now = "extract(epoch FROM clock_timestamp()) * 1000";
  const [row] = await cluster.query(`SELECT count(*) FILTER (WHERE expires_at > ${now})::int AS count,
    count(*) FILTER (WHERE expires_at < ${now} + 3600000)::int AS left,
    (min(expires_at) - ${now})::int AS least FROM credentials WHERE kind = 'access_token'`);
  return { count: Number(row?.["count"]), left: Number(row?.["left"]), leastMs: Number(row?.["least"]) };
}

/** Kills one node after the other and starts it again, until the end; answers with how often. */
async function killInTurn(
  cluster: ClusterHarness,
  nodes: ClusterNode[],
  everyMs: number,
  over: AbortSignal,
): Promise<number> {
  for (let kills = 0; ; kills++) {
    const end = performance.now() + everyMs;
    while (performance.now() < end && !over.aborted) await Bun.sleep(LOOK_MS);
    if (over.aborted) return kills;
    const n = kills % nodes.length;
    nodes[n]!.service.signal("SIGKILL");
    await nodes[n]!.service.exited();
    nodes[n] = (await cluster.start(1, UNLIMITED))[0]!;
  }
}

/** Reads one token after the other from a node, of which none may fail while it lives; answers with how many. */
async function readAny(
  cluster: ClusterHarness,
  nodes: readonly ClusterNode[],
  n: number,
  names: readonly string[],
  over: AbortSignal,
): Promise<number> {
  let reads = 0;
  for (; !over.aborted; reads++, await Bun.sleep(READ_EVERY_MS)) {
    const node = nodes[n]!;
    const app = names[Math.floor(Math.random() * names.length)]!;
    const token = await tokenAt(node, app).catch(() => undefined);
    if (token === undefined || cluster.sandbox.accepts(token)) continue;
    // It may have been renewed just now.
    const isRenewed = () => isGood(cluster, node, app).catch(() => true);
    must(await comesTrue(RENEWED_MS, isRenewed), `a read failed: ${token}`);
  }
  return reads;
}

async function isGood({ sandbox }: ClusterHarness, node: ClusterNode, app: string): Promise<boolean> {
  return sandbox.accepts(await tokenAt(node, app));
}
