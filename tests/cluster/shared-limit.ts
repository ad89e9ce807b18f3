import { must, Violation } from "../faults/fault-case.ts";
import { Harness } from "../support/harness.ts";
import { ask } from "../support/process-harness.ts";
import type { ClusterHarness, ClusterNode } from "./cluster-harness.ts";

/** So much more than is allowed is asked for, and so far from what is allowed may be what is answered. */
const OVER = 2;
const TOLERANCE = 0.1;
/** After a node has gone its share is that of the others within so long. */
const RESHARED_MS = 10_000;
/** Beside other tests everything takes longer, and a node may be held up for a moment: its share is lost, or comes at once. */
const SLACK_MS = 10_000;
const MAX_WINDOWS = 5;
const TICK_MS = 5;

/** A client's limit and for how long what comes of it is counted. */
export interface LimitOptions {
  readonly perSecond: number;
  readonly windowMs: number;
}

/**
 * N14, M9: a client that asks three nodes in turn is answered as often as its limit says, and so it is some seconds after
 * one of them was killed; never more often.
 */
export async function sharedLimit(
  cluster: ClusterHarness,
  { perSecond, windowMs }: LimitOptions,
): Promise<string> {
  const nodes = await cluster.start(3);
  const client = {
    client: "bot",
    environment: "dev",
    delivery: "real",
    policy: { preset: "all" },
    grants: [{ apps: ["*"], actions: ["token:read"] }],
    rate_limit: perSecond,
  };
  await cluster.administer(nodes[0]!, "POST", "/v1/clients", client);
  const { data } = await cluster.administer(nodes[0]!, "POST", "/v1/clients/bot/keys", { label: "k" });
  const headers = { "x-api-key": String(data["api_key"]) };
  const isAnswered = async ({ url }: ClusterNode) =>
    (await ask(url, "/AccessToken/getXcx", { appid: cluster.apps[0]! }, { headers })).code === 0;
  for (const node of nodes) await Harness.until(() => isAnswered(node));
  await counted(cluster, nodes[0]!, 3);
  const asking = askInTurn([...nodes], perSecond * OVER, isAnswered);
  try {
    const before = await metLimit(asking, { perSecond, windowMs });
    asking.leave(nodes[2]!);
    nodes[2]!.service.signal("SIGKILL");
    const killedAt = performance.now();
    await counted(cluster, nodes[0]!, 2);
    const goneMs = performance.now() - killedAt;
    must(goneMs <= RESHARED_MS + SLACK_MS, `a node that was killed was counted for ${Math.round(goneMs)} ms`);
    const after = await metLimit(asking, { perSecond, windowMs });
    return `${before} a second by three, ${after} by two, not counted ${Math.round(goneMs)} ms after`;
  } finally {
    await asking.stop();
  }
}

/** Waits until a node counts so many live ones. */
async function counted(cluster: ClusterHarness, node: ClusterNode, count: number): Promise<void> {
  await Harness.until(async () => {
    const { data } = await cluster.administer(node, "GET", "/v1/nodes");
    const all = data["nodes"] as { readonly state: string }[];
    return all.filter(({ state }) => state === "live").length === count;
  }, RESHARED_MS + SLACK_MS);
}

type Asking = ReturnType<typeof askInTurn>;

/** How many requests a second are answered: as many as are allowed. A machine that is busy may need several attempts. */
async function metLimit(asking: Asking, { perSecond, windowMs }: LimitOptions): Promise<number> {
  const found: number[] = [];
  for (let n = 0; n < MAX_WINDOWS; n++) {
    const startedAt = performance.now();
    const before = asking.answered();
    await Bun.sleep(windowMs);
    const rate = ((asking.answered() - before) / (performance.now() - startedAt)) * 1000;
    // What may come all at once was used up in the first.
    if (n > 0 && Math.abs(rate - perSecond) <= perSecond * TOLERANCE) return Math.round(rate);
    found.push(Math.round(rate));
  }
  throw new Violation(`of ${perSecond} a second that are allowed these were answered: ${found.join(", ")}`);
}

/** Asks `nodes` one after the other, so often a second, whatever the answers take. */
function askInTurn(
  nodes: ClusterNode[],
  perSecond: number,
  isAnswered: (node: ClusterNode) => Promise<boolean>,
) {
  const pending = new Set<Promise<unknown>>();
  const startedAt = performance.now();
  let sent = 0;
  let answered = 0;
  const timer = setInterval(() => {
    const due = ((performance.now() - startedAt) / 1000) * perSecond;
    for (; sent < due; sent++) {
      // On a machine that can't answer as many, fewer are sent.
      if (pending.size >= perSecond) continue;
      const request: Promise<unknown> = isAnswered(nodes[sent % nodes.length]!)
        .then((isOne) => (answered += isOne ? 1 : 0))
        .catch(() => undefined)
        .finally(() => pending.delete(request));
      pending.add(request);
    }
  }, TICK_MS);
  return {
    answered: () => answered,
    leave: (node: ClusterNode) => void nodes.splice(nodes.indexOf(node), 1),
    stop: async () => {
      clearInterval(timer);
      await Promise.all(pending);
    },
  };
}
