import { comesTrue, must } from "../faults/fault-case.ts";
import { type Exposition, parseExposition } from "../ops/prometheus-text.ts";
import { Harness } from "../support/harness.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import type { ClusterHarness, ClusterNode } from "./cluster-harness.ts";
import { clear } from "./sharing.ts";
import { distribution, quantile, watchChange } from "./watching.ts";

/** A node notices within so long that it hears nothing any more. */
const NOTICED_MS = 7000;
/** A change is seen all the same. */
const SEEN_MS = 1200;
/** Beside other tests everything takes longer. */
const SLACK_MS = 3000;
const PATIENCE_MS = 30_000;

/** How often listeners go silent, and with which program; default the cluster's. */
export interface SilenceOptions {
  readonly count: number;
  readonly program?: readonly string[];
}

/**
 * N04, M2: the connections on which nodes listen go silent without an end. What changes meanwhile is seen all the same, and
 * the nodes notice.
 */
export async function silentListeners(
  cluster: ClusterHarness,
  { count, program }: SilenceOptions,
): Promise<string> {
  const [first] = await cluster.start(1);
  using ear = await TcpProxy.start(cluster.server.port);
  const env = { DATABASE_LISTEN_URL: ear.through(cluster.databaseUrl) };
  const others = await cluster.start(2, env, program);
  const nodes = [first!, ...others];
  const noticedMs: number[] = [];
  const seenMs: number[] = [];
  for (let n = 0; n < count; n++) {
    ear.restore();
    await Harness.until(() => allOf(others, isListening), PATIENCE_MS);
    const { make, isStale } = await clear(cluster, nodes, n);
    ear.halt();
    const silentAt = performance.now();
    const seen = watchChange({ what: "clear", nodes: others, isStale, change: make, boundMs: SEEN_MS });
    const isDeaf = async (node: ClusterNode) => !(await isListening(node));
    const noticed = comesTrue(PATIENCE_MS, () => allOf(others, isDeaf));
    const at = noticed.then(() => performance.now() - silentAt);
    seenMs.push(await seen);
    must(await noticed, "a node believes that it hears what is silent");
    noticedMs.push(await at);
  }
  must(quantile(noticedMs, 0.5) <= NOTICED_MS + SLACK_MS, `noticed: ${distribution(noticedMs)}`);
  return `noticed after ${distribution(noticedMs)}; changes seen ${distribution(seenMs)}`;
}

async function isListening({ url }: ClusterNode): Promise<boolean> {
  const metrics: Exposition = parseExposition(await (await fetch(`${url}/metrics`)).text());
  return metrics.value("accesstoken_listen_up", { worker: "1" }) === 1;
}

async function allOf(
  nodes: readonly ClusterNode[],
  isSo: (node: ClusterNode) => Promise<boolean>,
): Promise<boolean> {
  return (await Promise.all(nodes.map(isSo))).every(Boolean);
}
