import { ClusterHarness, type ClusterNode } from "../cluster/cluster-harness.ts";
import { changeWaits } from "../cluster/sharing.ts";
import { quantile } from "../cluster/watching.ts";
import type { Effort } from "./effort.ts";
import type { Figure } from "./figures.ts";
import { startServer } from "./on-postgres.ts";
import { askAtOnce } from "./storm.ts";

const NODES = 3;
const SEEN = 100;
const CALLERS = 10_000;
const UPSTREAM_MS = 100;
/** So many clients are created in one go, or one after the other. */
const CHANGES = 150;

/** Three services on one PostgreSQL, without anything between them and it. */
async function startCluster(apps: number): Promise<{ cluster: ClusterHarness; nodes: ClusterNode[] }> {
  const cluster = await ClusterHarness.create({ server: await startServer(), apps });
  return { cluster, nodes: await cluster.start(NODES, { DATABASE_URL: cluster.databaseUrl }) };
}

/** How long after a node has acknowledged a change others answer a caller by what was before. */
export async function changesSeen({ pairs }: Effort): Promise<Figure[]> {
  const halfMs: number[] = [];
  const nearlyAllMs: number[] = [];
  for (let run = 0; run < pairs; run++) {
    // A credential may be cleared once in 10 s.
    const { cluster, nodes } = await startCluster(50);
    await using _ = cluster;
    const waits = await changeWaits(cluster, nodes, SEEN);
    halfMs.push(quantile(waits, 0.5));
    nearlyAllMs.push(quantile(waits, 0.99));
    console.error(
      `changes seen: p50 ${halfMs.at(-1)?.toFixed(1)} ms, p99 ${nearlyAllMs.at(-1)?.toFixed(1)} ms`,
    );
  }
  return [
    {
      name: "a change at one node, seen by the others: p50",
      unit: "ms",
      values: halfMs,
      target: { atMost: 20 },
    },
    { name: "the same: p99", unit: "ms", values: nearlyAllMs, target: { atMost: 100 } },
  ];
}

/** Ten thousand callers at once of three nodes, none of which has the token, while WeChat takes 100 ms. */
export async function clusterStorm({ storms }: Effort): Promise<Figure[]> {
  const calls: number[] = [];
  const lastMs: number[] = [];
  for (let run = 0; run < storms; run++) {
    const { cluster, nodes } = await startCluster(1);
    await using _ = cluster;
    const { sandbox, apps } = cluster;
    const before = () => sandbox.inject({ kind: "delay", ms: UPSTREAM_MS, times: 1 });
    const ports = nodes.map(({ url }) => Number(new URL(url).port));
    lastMs.push(await askAtOnce({ ports, appId: apps[0] ?? "", callers: CALLERS, before }));
    calls.push(sandbox.calls("/cgi-bin/stable_token"));
  }
  return [
    {
      name: "cold storm of 10,000 on three nodes: upstream calls",
      unit: "calls",
      values: calls,
      target: { atMost: 1 },
    },
    { name: "the same: last answer, upstream 100 ms", unit: "ms", values: lastMs },
  ];
}

/** How many clients are created a second: each is a transaction of its own, with its entry in the audit. */
export async function auditedChangesPerSecond({ pairs }: Effort): Promise<Figure[]> {
  const { cluster, nodes } = await startCluster(1);
  await using _ = cluster;
  let created = 0;
  const create = async (node: ClusterNode) => {
    const body = { client: `bench-${++created}`, environment: "dev", grants: [] };
    for (;;) {
      const { code, text } = await cluster.administer(node, "POST", "/v1/clients", body);
      if (code === 0) return;
      // Where the machine does much else the database is busy for too long.
      if (code !== 503) throw new Error(text);
    }
  };
  const oneByOne = async () => {
    for (let n = 0; n < CHANGES; n++) await create(nodes[0]!);
  };
  const atOnce = async (of: readonly ClusterNode[]) => {
    await Promise.all(Array.from({ length: CHANGES }, (_, n) => create(of[n % of.length]!)));
  };
  const perSecond = async (work: () => Promise<void>) => {
    const startedAt = performance.now();
    await work();
    return (CHANGES / (performance.now() - startedAt)) * 1000;
  };
  await oneByOne();
  const of: Record<"oneByOne" | "oneNode" | "allNodes", number[]> = {
    oneByOne: [],
    oneNode: [],
    allNodes: [],
  };
  for (let run = 0; run < pairs; run++) {
    of.oneByOne.push(await perSecond(oneByOne));
    of.oneNode.push(await perSecond(() => atOnce(nodes.slice(0, 1))));
    of.allNodes.push(await perSecond(() => atOnce(nodes)));
  }
  return [
    { name: "clients created on PostgreSQL, one after the other", unit: "/s", values: of.oneByOne },
    { name: "the same, many at once at one node", unit: "/s", values: of.oneNode },
    { name: "the same, many at once at three nodes", unit: "/s", values: of.allNodes },
  ];
}
