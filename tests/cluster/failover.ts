import { must } from "../faults/fault-case.ts";
import { Harness } from "../support/harness.ts";
import { ask } from "../support/process-harness.ts";
import { PostgresServer } from "../support/postgres-server.ts";
import { ClusterHarness, type ClusterNode, tokenAt } from "./cluster-harness.ts";

const PATIENCE_MS = 60_000;
/** Nodes that reach the new primary agree within so long. */
const AGREED_MS = 5000;
/** Beside other tests everything takes longer. */
const SLACK_MS = 3000;
const STABLE_TOKEN = "/cgi-bin/stable_token";

/** A cluster of three whose database has a standby. Use it with `await using`. */
export class FailoverCluster {
  readonly cluster: ClusterHarness;
  readonly nodes: readonly ClusterNode[];
  readonly standby: PostgresServer;
  readonly #primary: PostgresServer;

  private constructor(
    parts: Pick<FailoverCluster, "cluster" | "nodes" | "standby">,
    primary: PostgresServer,
  ) {
    this.cluster = parts.cluster;
    this.nodes = parts.nodes;
    this.standby = parts.standby;
    this.#primary = primary;
  }

  /** Whose commits wait for the standby, or do not. */
  static async start({ apps, isSynchronous }: { apps: number; isSynchronous: boolean }) {
    const primary = await PostgresServer.start();
    const cluster = await ClusterHarness.create({ apps, server: primary });
    const standby = await primary.standby();
    if (isSynchronous) {
      await using admin = primary.connect("postgres");
      await admin.unsafe("ALTER SYSTEM SET synchronous_standby_names = '*'");
      await admin.unsafe("SELECT pg_reload_conf()");
    }
    const nodes = await cluster.start(3);
    return new FailoverCluster({ cluster, nodes, standby }, primary);
  }

  /** The primary crashes, the standby leads, and then every line leads to it. Answers when the nodes have found it. */
  async failOver(): Promise<void> {
    await this.#primary.signal("SIGQUIT");
    this.standby.promote();
    this.cluster.turnTo(this.standby);
    await Harness.until(async () => (await Promise.all(this.nodes.map(isReady))).every(Boolean), PATIENCE_MS);
  }

  /** What every node hands out for each app: one text where they agree. */
  async tokens(): Promise<ReadonlySet<string>[]> {
    const each = this.cluster.apps.map(async (app) => {
      return new Set(await Promise.all(this.nodes.map((node) => tokenAt(node, app))));
    });
    return Promise.all(each);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]();
    this.standby.stop();
    this.#primary.stop();
  }
}

/** N10, M6: what was acknowledged before a failover to a synchronous standby is there after it. */
export async function synchronousFailover(it: FailoverCluster): Promise<string> {
  const { cluster, nodes } = it;
  await it.tokens();
  await cluster.administer(nodes[0]!, "GET", "/v1/clients");
  const created: string[] = [];
  const cleared = new Map<string, string>();
  const over = new AbortController();
  const create = async (node: ClusterNode, n: number) => {
    for (let count = 0; !over.signal.aborted; count++) {
      const body = { client: `n10-${n}-${count}`, environment: "dev", grants: [] };
      const answer = await cluster.administer(node, "POST", "/v1/clients", body).catch(() => undefined);
      if (answer?.code === 0) created.push(body.client);
      else await Bun.sleep(20);
    }
  };
  const clear = async () => {
    for (const app of cluster.apps) {
      const before = await tokenAt(nodes[0]!, app);
      cluster.sandbox.killTokens(app);
      const { code } = await ask(nodes[1]!.url, "/AccessToken/clearXcx", { appid: app });
      if (code === 0) cleared.set(app, before);
      if (over.signal.aborted) return;
    }
  };
  const changing = Promise.all([...nodes.map(create), clear()]);
  await Harness.until(() => created.length >= 20 && cleared.size >= 5, PATIENCE_MS);
  const failing = it.failOver().finally(() => over.abort());
  await Promise.all([changing, failing]);
  const there = new Set((await cluster.query("SELECT name FROM clients")).map((row) => row["name"]));
  const lost = created.filter((client) => !there.has(client));
  must(lost.length === 0, `of ${created.length} clients that were acknowledged ${lost.length} are lost`);
  for (const [app, dead] of cleared) {
    const tokens = await Promise.all(nodes.map((node) => tokenAt(node, app)));
    must(!tokens.includes(dead), `a token that was cleared is handed out again: ${app}`);
  }
  const said = nodes.filter(({ service }) => service.stdout.includes("store.history_lost"));
  must(said.length === 0, "a node says that the database has lost something");
  return `${created.length} clients and ${cleared.size} clears acknowledged, 0 lost`;
}

/**
 * N10, M6: after a failover to an asynchronous standby, which has lost two changes of each app's token, all nodes hand out
 * the tokens that they had, and the audit says what it has lost.
 */
export async function asynchronousFailover(it: FailoverCluster): Promise<string> {
  const { cluster, nodes, standby } = it;
  await it.tokens();
  await caughtUp(it);
  await standby.detach();
  for (const app of cluster.apps) {
    cluster.sandbox.killTokens(app);
    const { code, msg } = await ask(nodes[0]!.url, "/AccessToken/clearXcx", { appid: app });
    must(code === 0, `the clear was refused: ${code} ${msg}`);
  }
  await agreed(it);
  const before = (await it.tokens()).map((each) => [...each][0]!);
  const generations = await generationsOf(it);
  const calls = cluster.sandbox.calls(STABLE_TOKEN);
  const generationsBack = async () => {
    const now = await generationsOf(it);
    return [...generations].filter(([key, was]) => (now.get(key) ?? 0) < was);
  };
  const odd = new Set<string>();
  const over = new AbortController();
  const reading = (async () => {
    for (let n = 0; !over.signal.aborted; n++) {
      const app = n % before.length;
      // A connection that is reset on a busy machine hands out nothing.
      const token = await tokenAt(nodes[n % nodes.length]!, cluster.apps[app]!).catch(() => undefined);
      if (token !== undefined && token !== before[app]) odd.add(token);
    }
  })();
  await it.failOver();
  const since = performance.now();
  await agreed(it);
  await Harness.until(async () => (await generationsBack()).length === 0, PATIENCE_MS);
  const agreedMs = performance.now() - since;
  must(agreedMs <= AGREED_MS + SLACK_MS, `the nodes agreed only after ${Math.round(agreedMs)} ms`);
  over.abort();
  await reading;
  const after = (await it.tokens()).map((each) => [...each][0]!);
  const dead = after.filter((token) => !cluster.sandbox.accepts(token));
  must(dead.length === 0, `${dead.length} tokens are none: ${dead[0]}`);
  must(odd.size === 0, `meanwhile a node handed out ${[...odd][0]}`);
  const extra = cluster.sandbox.calls(STABLE_TOKEN) - calls;
  must(extra <= before.length, `${extra} more upstream calls for ${before.length} apps`);
  const report = await cluster.command("audit", "verify", "--json");
  must((JSON.parse(report) as { intact: boolean }).intact, `the audit is not intact: ${report}`);
  const noted = await cluster.command("audit", "list", "--action", "audit.lost", "--json");
  must(noted.includes('"to"'), `the audit does not say what it has lost: ${noted}`);
  const said = nodes.filter(({ service }) => service.stdout.includes('"event":"store.history_lost"'));
  must(said.length === nodes.length, `${said.length} nodes say that the database has lost something`);
  const kept = after.filter((token, n) => token === before[n]).length;
  const agreedIn = `agreed after ${Math.round(agreedMs)} ms`;
  return `${2 * before.length} changes lost, ${agreedIn}, ${kept} tokens kept, ${extra} upstream calls more`;
}

/** Waits until the standby has everything. */
async function caughtUp({ cluster, standby }: FailoverCluster): Promise<void> {
  const [row] = await cluster.query("SELECT pg_current_wal_lsn()::text AS lsn");
  await using there = standby.connect("postgres");
  await Harness.until(async () => {
    const [{ is_there: isThere } = {}] = (await there.unsafe(
      "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS is_there",
      [row?.["lsn"]],
    )) as { is_there?: boolean }[];
    return isThere === true;
  }, PATIENCE_MS);
}

/** Waits until all nodes hand out the same, each of it a token. */
async function agreed(it: FailoverCluster): Promise<void> {
  const isSo = (tokens: ReadonlySet<string>) => tokens.size === 1 && ![...tokens][0]!.startsWith("503 ");
  await Harness.until(async () => (await it.tokens()).every(isSo), PATIENCE_MS);
}

async function generationsOf({ cluster }: FailoverCluster): Promise<ReadonlyMap<string, number>> {
  const rows = await cluster.query("SELECT app_id || ' ' || kind AS name, generation FROM credentials");
  return new Map(rows.map(({ name, generation }) => [String(name), Number(generation)]));
}

async function isReady({ url }: ClusterNode): Promise<boolean> {
  return (await ask(url, "/readyz")).status === 200;
}
