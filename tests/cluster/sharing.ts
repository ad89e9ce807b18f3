import { must } from "../faults/fault-case.ts";
import { Harness, WX_FOREIGN } from "../support/harness.ts";
import { ask } from "../support/process-harness.ts";
import { type ClusterHarness, type ClusterNode, tokenAt } from "./cluster-harness.ts";
import { distribution, quantile, watchChange } from "./watching.ts";

const PATIENCE_MS = 60_000;
const STABLE_TOKEN = "/cgi-bin/stable_token";

/** N01, P1: callers who ask all nodes for the tokens of some apps at once cost one upstream call for each app. */
export async function coldCallers(
  { sandbox }: ClusterHarness,
  nodes: readonly ClusterNode[],
  { apps, callers }: { readonly apps: readonly string[]; readonly callers: number },
): Promise<string> {
  const before = sandbox.calls(STABLE_TOKEN);
  const answers = await Promise.all(
    Array.from({ length: callers }, (_, n) => patientToken(nodes[n % nodes.length]!, apps[n % apps.length]!)),
  );
  const tokens = new Set(answers);
  const [odd] = [...tokens].filter((token) => !sandbox.accepts(token));
  must(odd === undefined, `a caller got no token: ${odd}`);
  must(tokens.size === apps.length, `${tokens.size} tokens of ${apps.length} apps were handed out`);
  const calls = sandbox.calls(STABLE_TOKEN) - before;
  // A machine may be so busy that a lease runs out: that costs one more call, whose loser says so.
  const overtaken = nodes.flatMap(
    ({ service }) => service.stdout.match(/"credential\.fenced"/g) ?? [],
  ).length;
  must(
    calls >= apps.length && calls <= apps.length + overtaken,
    `${callers} callers cost ${calls} upstream calls, ${overtaken} of them by leases that ran out`,
  );
  return `${callers} callers, ${apps.length} apps, ${calls} upstream calls`;
}

/** Asks again where a node has answered 503, as on a machine that is so busy that a lease is waited for too long. */
async function patientToken(node: ClusterNode, app: string): Promise<string> {
  for (const end = performance.now() + PATIENCE_MS; ;) {
    const token = await tokenAt(node, app);
    if (!token.startsWith("503 ") || performance.now() > end) return token;
  }
}

/** One change that a node makes, and how another shows that it does not know of it. */
interface Change {
  readonly make: () => Promise<void>;
  readonly isStale: (node: ClusterNode) => Promise<boolean>;
}

/** Each takes what it needs to be ready, on every node, and what is changed then. */
const CHANGES = { clear, replace, revoke, disable };

/** How changes are watched. Bounds are milliseconds; the default is what a machine keeps to that does much else. */
export interface SeenOptions {
  readonly count: number;
  /** What half of all changes must be seen in. */
  readonly medianMs: number;
  /** What 99 of a hundred must be seen in; default any time. */
  readonly nearlyAllMs?: number;
  /** After which no request is answered by what was; default 1,200, and the slowest answer meanwhile. */
  readonly boundMs?: number;
}

/**
 * N02, M2 and M3: what one node has cleared, replaced, revoked or disabled is handed out by the others no more.
 *
 * @throws {Violation} where a request that is sent 1.2 s later gets it, or half of all take longer than `medianMs`.
 */
export async function seenChanges(
  cluster: ClusterHarness,
  nodes: readonly ClusterNode[],
  { count, medianMs, nearlyAllMs = Infinity, boundMs }: SeenOptions,
): Promise<string> {
  const waits = await changeWaits(cluster, nodes, count, boundMs);
  must(quantile(waits, 0.5) <= medianMs, `half of all were seen later than that: ${distribution(waits)}`);
  must(quantile(waits, 0.99) <= nearlyAllMs, `of 100 more than one was seen later: ${distribution(waits)}`);
  return distribution(waits);
}

/** Makes changes, and returns for each how long another node has handed out what was before, in milliseconds. */
export async function changeWaits(
  cluster: ClusterHarness,
  nodes: readonly ClusterNode[],
  count: number,
  boundMs?: number,
): Promise<number[]> {
  const [first, ...others] = nodes;
  must(first !== undefined, "there is a node");
  const makers = Object.entries(CHANGES);
  const waits: number[] = [];
  for (let n = 0; n < count; n++) {
    const [what, ready] = makers[n % makers.length]!;
    const { make, isStale } = await ready(cluster, nodes, n);
    waits.push(await watchChange({ what, nodes: others, isStale, change: make, boundMs }));
  }
  return waits;
}

/** How lost notifications are watched; see `SeenOptions`. */
export interface LostOptions extends Pick<SeenOptions, "count" | "boundMs"> {
  /** What half of all must be listening again in; default 2,000. */
  readonly listeningMs?: number;
  /** What all must be; default any time. */
  readonly latestListeningMs?: number;
}

/** N03: the connections for notifications are killed just when something changes. */
export async function lostNotifications(
  cluster: ClusterHarness,
  nodes: readonly ClusterNode[],
  { count, boundMs, listeningMs: medianMs = 2000, latestListeningMs = Infinity }: LostOptions,
): Promise<string> {
  const [, ...others] = nodes;
  const waits: number[] = [];
  const listeningMs: number[] = [];
  for (let n = 0; n < count; n++) {
    await Harness.until(async () => (await listeners(cluster)) === nodes.length);
    const { make, isStale } = await clear(cluster, nodes, n);
    let killedAt = 0;
    const change = async () => {
      const made = new AbortController();
      const kill = async () => {
        for (; !made.signal.aborted; killedAt = performance.now()) await killListeners(cluster);
      };
      await Promise.all([kill(), make().finally(() => made.abort())]);
    };
    waits.push(await watchChange({ what: "clear", nodes: others, isStale, change, boundMs }));
    await Harness.until(async () => (await listeners(cluster)) === nodes.length);
    listeningMs.push(performance.now() - killedAt);
  }
  const isInTime = quantile(listeningMs, 0.5) <= medianMs && quantile(listeningMs, 1) <= latestListeningMs;
  must(isInTime, `listening again: ${distribution(listeningMs)}`);
  return `seen ${distribution(waits)}; listening again ${distribution(listeningMs)}`;
}

/** N13, P7: changes that all nodes make at once are one chain of the audit. */
export async function auditedChanges(
  cluster: ClusterHarness,
  nodes: readonly ClusterNode[],
  { each }: { readonly each: number },
): Promise<string> {
  const entries = async () => {
    const report = await cluster.command("audit", "verify", "--json");
    const { intact, entries } = JSON.parse(report) as { intact: boolean; entries: number };
    must(intact, `the audit is not intact: ${report}`);
    return entries;
  };
  await cluster.administer(nodes[0]!, "GET", "/v1/clients");
  const before = await entries();
  const startedAt = performance.now();
  const codes = await Promise.all(
    Array.from({ length: each * nodes.length }, async (_, n) => {
      const body = { client: `n13-${n}`, environment: "dev", grants: [] };
      const { code, msg } = await cluster.administer(nodes[n % nodes.length]!, "POST", "/v1/clients", body);
      return code === 0 ? "" : `${code} ${msg}`;
    }),
  );
  const seconds = (performance.now() - startedAt) / 1000;
  const refused = codes.filter(Boolean);
  must(refused.length === 0, `${refused.length} changes were refused: ${refused[0]}`);
  const added = (await entries()) - before;
  must(added === codes.length, `${codes.length} changes left ${added} entries`);
  return `${added} changes in one chain, ${Math.round(codes.length / seconds)} a second`;
}

/** Every node has handed out the app's token; it is then forgotten, and WeChat issues another. */
export async function clear(
  cluster: ClusterHarness,
  nodes: readonly ClusterNode[],
  n: number,
): Promise<Change> {
  const [app, former] = await warmToken(cluster, nodes, n);
  cluster.sandbox.killTokens(app);
  return {
    isStale: async (node) => (await tokenAt(node, app)) === former,
    make: () => done(ask(nodes[0]!.url, "/AccessToken/clearXcx", { appid: app })),
  };
}

async function replace(cluster: ClusterHarness, nodes: readonly ClusterNode[], n: number): Promise<Change> {
  const [app, former] = await warmToken(cluster, nodes, n);
  cluster.sandbox.killTokens(app);
  const path = `/v1/apps/${app}/credentials/access_token/replace`;
  return {
    isStale: async (node) => (await tokenAt(node, app)) === former,
    make: () => done(cluster.administer(nodes[0]!, "POST", path, { rejected: former })),
  };
}

async function revoke(cluster: ClusterHarness, nodes: readonly ClusterNode[], n: number): Promise<Change> {
  const [first] = nodes;
  const body = {
    client: "watched",
    environment: "dev",
    delivery: "real",
    policy: { preset: "all" },
    grants: [{ apps: ["*"], actions: ["token:read"] }],
  };
  await done(cluster.administer(first!, "POST", "/v1/clients", body));
  const { data } = await cluster.administer(first!, "POST", "/v1/clients/watched/keys", { label: `k${n}` });
  const key = String(data["api_key"]);
  const status = async ({ url }: ClusterNode) => {
    const headers = { "x-api-key": key };
    return (await ask(url, "/AccessToken/getXcx", { appid: cluster.apps[0]! }, { headers })).code;
  };
  for (const node of nodes) await Harness.until(async () => (await status(node)) === 0);
  const path = `/v1/clients/watched/keys/${String(data["key"])}`;
  return {
    isStale: async (node) => (await status(node)) === 0,
    make: () => done(cluster.administer(first!, "DELETE", path)),
  };
}

/** An app that is stored, as those of the environment can't be disabled. */
async function disable(cluster: ClusterHarness, nodes: readonly ClusterNode[]): Promise<Change> {
  const { appId: app, secret } = WX_FOREIGN;
  const set = (body: object) => cluster.administer(nodes[0]!, "PATCH", `/v1/apps/${app}`, body);
  if ((await set({ disabled: false })).code !== 0) {
    const body = { platform: "weixin", app_id: app, secret };
    await done(cluster.administer(nodes[0]!, "POST", "/v1/apps", body));
  }
  const isHandedOut = async (node: ClusterNode) => cluster.sandbox.accepts(await tokenAt(node, app));
  for (const node of nodes) await Harness.until(() => isHandedOut(node));
  return { isStale: isHandedOut, make: () => done(set({ disabled: true })) };
}

/** An app, another for each `n`, and its token, which every node has. */
async function warmToken(
  { apps, sandbox }: ClusterHarness,
  nodes: readonly ClusterNode[],
  n: number,
): Promise<[app: string, token: string]> {
  const app = apps[n % apps.length]!;
  let token = "";
  const isEverywhere = async () => {
    const tokens = new Set(await Promise.all(nodes.map((node) => tokenAt(node, app))));
    [token = ""] = tokens;
    return tokens.size === 1 && sandbox.accepts(token);
  };
  await Harness.until(isEverywhere, 20_000);
  return [app, token];
}

async function done(answer: Promise<{ readonly code: number; readonly text: string }>): Promise<void> {
  const { code, text } = await answer;
  must(code === 0, text);
}

const LISTENING = "datname = current_database() AND query ILIKE 'LISTEN %'";

async function listeners(cluster: ClusterHarness): Promise<number> {
  const rows = await cluster.query(`SELECT count(*)::int AS count FROM pg_stat_activity WHERE ${LISTENING}`);
  return Number(rows[0]?.["count"]);
}

async function killListeners(cluster: ClusterHarness): Promise<void> {
  await cluster.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${LISTENING}`);
}
