import { SQL } from "bun";
import { expect, test as declared } from "bun:test";
import { read } from "../docs/document.ts";
import { Child } from "../support/child.ts";
import { Harness } from "../support/harness.ts";
import { findNginx, startNginx } from "../support/nginx.ts";
import { freePort, PostgresServer, postgresTest } from "../support/postgres-server.ts";
import { ask } from "../support/process-harness.ts";
import { ClusterHarness, type ClusterNode, tokenAt } from "./cluster-harness.ts";

const HAPROXY = Bun.which("haproxy") ?? Bun.which("/usr/sbin/haproxy") ?? undefined;
const NGINX = findNginx();
const haproxyTest = HAPROXY ? postgresTest : declared.skip;
const nginxTest = NGINX ? postgresTest : declared.skip;
if (!HAPROXY || !NGINX) console.error("The tests with load balancers are not run: install haproxy and nginx");

/** A machine that is not the balancer's answers nobody without a key. */
const ELSEWHERE = { TRUSTED_NETWORKS: "10.99.0.0/16", TRUSTED_PROXIES: "127.0.0.1/32" };

/** The block of the document that has `content`, with these in the place of its addresses, each once or more. */
function block(language: string, content: string, ports: Readonly<Record<string, number>>): string {
  const { blocks } = read("docs/cluster.md");
  let text = blocks.find((each) => each.language === language && each.text.includes(content))?.text ?? "";
  for (const [address, port] of Object.entries(ports)) {
    expect(text).toContain(address);
    text = text.replaceAll(address, address.startsWith("port") ? `port ${port}` : `127.0.0.1:${port}`);
  }
  return text;
}

const portOf = ({ url }: ClusterNode) => Number(new URL(url).port);
const addressesOf = (nodes: readonly ClusterNode[]) =>
  Object.fromEntries(nodes.map((node, n) => [`10.0.0.1${n + 1}:3000`, portOf(node)]));

async function startHaproxy(cluster: ClusterHarness, text: string, env: Record<string, string> = {}) {
  cluster.write("haproxy.cfg", `${text}\n`);
  return new Child([HAPROXY!, "-db", "-f", "haproxy.cfg"], { cwd: cluster.folder, env });
}

/** Reads a token by way of a balancer until it is stopped; what it got that is not good. */
function reading(
  url: string,
  cluster: ClusterHarness,
  isGood: (answer: string) => boolean,
  init?: RequestInit,
) {
  const odd: string[] = [];
  const over = new AbortController();
  let reads = 0;
  const done = (async () => {
    for (; !over.signal.aborted; reads++) {
      const answer = await tokenAt({ url }, cluster.apps[0]!, init).catch((error: unknown) => String(error));
      if (!isGood(answer)) odd.push(answer);
    }
  })();
  return async () => {
    over.abort();
    await done;
    return { odd, reads };
  };
}

haproxyTest(
  "the HAProxy of the document leads to nodes that are ready, and to the server of the database that leads",
  async () => {
    const primary = await PostgresServer.start();
    let leader = 1;
    const check = (server: number) =>
      Bun.serve({ port: 0, fetch: () => new Response(null, { status: leader === server ? 200 : 503 }) });
    using one = check(1);
    using two = check(2);
    const database = freePort();
    const entrance = (url: string) => url.replace(`:${primary.port}/`, `:${database}/`);
    await using cluster = await ClusterHarness.create({ server: primary, entrance });
    const standby = await primary.standby();
    const servers = { "10.0.0.21:5432": primary.port, "10.0.0.22:5432": standby.port };
    const listen = block("haproxy", "listen postgres", { ...servers, "127.0.0.1:5432": database });
    const [first = "", second = ""] = listen.split("server two");
    const ofDatabase = `${first.replace("port 8008", `port ${one.port}`)}server two${second.replace("port 8008", `port ${two.port}`)}`;
    const defaults = "defaults\n  timeout connect 2s\n  timeout client 60s\n  timeout server 60s\n";
    await using _ = await startHaproxy(cluster, `${defaults}${ofDatabase}`);
    // It takes every server for one that leads until it has asked it.
    await using through = new SQL(entrance(primary.urlOf("postgres")), { max: 1 });
    for (let led = 0; led < 10;) {
      const rows = await through
        .unsafe("SELECT pg_is_in_recovery() AS follows")
        .catch(() => [{ follows: true }]);
      led = rows[0].follows ? 0 : led + 1;
      await Bun.sleep(50);
    }
    const nodes = await cluster.start(3, ELSEWHERE);
    const { data } = await cluster.administer(nodes[0]!, "POST", "/v1/clients", {
      client: "balancer",
      environment: "prod",
      grants: [],
    });
    expect(data["client"]).toBe("balancer");
    const key = (await cluster.command("keys", "create", "balancer")).trim();
    const admin = (await cluster.command("keys", "create", "--admin", "--label", "callers")).trim();
    const port = freePort();
    const front = block("haproxy", "frontend accesstoken", { ...addressesOf(nodes), ":3000": port });
    await using balancer = await startHaproxy(cluster, front, { CHECK_KEY: key });
    const url = `http://127.0.0.1:${port}`;
    const init = { headers: { "x-api-key": admin } };
    const isReady = async () => (await ask(url, "/readyz", {}, init).catch(() => undefined))?.status === 200;
    await Harness.until(isReady);
    // Virtual ones, each another.
    const isToken = (answer: string) => answer.startsWith("atv1_");
    expect(isToken(await tokenAt({ url }, cluster.apps[0]!, init))).toBe(true);
    for (const node of nodes)
      await Harness.until(async () => isToken(await tokenAt(node, cluster.apps[0]!, init)));
    const stop = reading(url, cluster, isToken, init);
    nodes[2]!.service.signal("SIGTERM");
    await nodes[2]!.service.exited();
    await primary.signal("SIGQUIT");
    standby.promote();
    leader = 2;
    await Harness.until(async () => (await ask(nodes[0]!.url, "/readyz", {}, init)).status === 200);
    await Harness.until(isReady);
    const { odd, reads } = await stop();
    expect(odd).toEqual([]);
    expect(reads).toBeGreaterThan(10);
    expect(balancer.stderr).not.toContain("ALERT");
    standby.stop();
    primary.stop();
  },
  240_000,
);

nginxTest(
  "the nginx of the document takes another node where one does not answer",
  async () => {
    await using cluster = await ClusterHarness.create();
    const nodes = await cluster.start(3, { TRUSTED_PROXIES: "127.0.0.1/32" });
    const port = freePort();
    const upstream = block("nginx", "upstream accesstoken", addressesOf(nodes));
    const location = block("nginx", "proxy_http_version", {});
    const head = "proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;";
    const server = `server { listen 127.0.0.1:${port}; location / { ${head} ${location} } }`;
    await using _ = await startNginx(NGINX!, {
      http: `${upstream}${server}`,
      port,
      folder: cluster.folder,
    });
    const url = `http://127.0.0.1:${port}`;
    const token = await tokenAt({ url }, cluster.apps[0]!);
    expect(cluster.sandbox.accepts(token)).toBe(true);
    const stop = reading(url, cluster, (answer) => answer === token);
    nodes[1]!.service.signal("SIGKILL");
    await nodes[1]!.service.exited();
    for (let n = 0; n < 100; n++) expect(await tokenAt({ url }, cluster.apps[0]!)).toBe(token);
    const { odd } = await stop();
    expect(odd).toEqual([]);
  },
  120_000,
);
