import { join } from "node:path";
import { MIGRATIONS } from "../../src/store/postgres/migrations.ts";
import { must } from "../faults/fault-case.ts";
import { Harness } from "../support/harness.ts";
import { ask } from "../support/process-harness.ts";
import { type ClusterHarness, type ClusterNode, tokenAt } from "./cluster-harness.ts";

const NEXT = [process.execPath, join(import.meta.dir, "with-next-migration.ts")];
const ADDS = `ALTER TABLE apps ADD COLUMN next_note text;
--> statement-breakpoint
CREATE TABLE next_things (id bigint PRIMARY KEY, note text NOT NULL);
--> statement-breakpoint
CREATE INDEX next_by_address ON audit_entries (address)`;
const PATIENCE_MS = 60_000;

/** How long nodes are under load, and how many requests a second each gets. */
export interface UpgradeOptions {
  readonly seconds: number;
  readonly perSecond: number;
}

/** N15, M8: while one node after the other is replaced by a version with one more migration, no request fails. */
export async function rolledUpgrade(
  cluster: ClusterHarness,
  { seconds, perSecond }: UpgradeOptions,
): Promise<string> {
  const [first, second] = await cluster.start(2);
  await cluster.administer(first!, "GET", "/v1/clients");
  const serving = new Set([first!, second!]);
  const load = new Load(cluster, serving, perSecond);
  const startNext = async () => {
    const [next] = await cluster.start(1, { NEXT_MIGRATION: ADDS }, NEXT);
    await Harness.until(() => isReady(next!), PATIENCE_MS);
    return next!;
  };
  serving.add(await startNext());
  // As a load balancer does: what goes gets nothing more first.
  serving.delete(second!);
  await load.idle(second!);
  second!.service.signal("SIGTERM");
  must((await second!.service.exited()) === 0, "the replaced node did not end well");
  serving.add(await startNext());
  await Harness.until(() => load.seconds >= seconds, PATIENCE_MS + seconds * 1000);
  const { requests, failures, created } = await load.stop();
  must(failures.length === 0, `${failures.length} of ${requests} requests failed: ${failures[0]}`);
  must(await isReady(first!), "the older node is not ready beside the newer ones");
  const there = await cluster.query("SELECT name FROM clients WHERE name LIKE 'n15-%'");
  must(there.length === created, `of ${created} clients ${there.length} are there`);
  return `${requests} requests in ${Math.round(load.seconds)} s, ${created} of them changes, 0 failed`;
}

/** N15, M8: a version that an older one must not run beside ends the older, whose start is refused in one line. */
export async function refusedVersion(cluster: ClusterHarness): Promise<string> {
  const [old] = await cluster.start(1);
  const raise = `INSERT INTO revisions (name, number) VALUES ('compatible_from', ${MIGRATIONS.length})`;
  const [next] = await cluster.start(1, { NEXT_MIGRATION: raise }, NEXT);
  must((await old!.service.exited()) === 3, "the older node goes on");
  const again = cluster.run(["serve"], cluster.variables);
  must((await again.exited()) === 1, "the older version starts again");
  const lines = again.stderr.trim().split("\n");
  must(lines.length === 1 && lines[0]!.includes("upgrade this program"), again.stderr);
  must(await isReady(next!), "the newer node is not ready");
  return lines[0]!;
}

/** Reads of tokens at some nodes, and changes beside them, as many a second as are wanted. */
class Load {
  readonly #cluster: ClusterHarness;
  readonly #serving: ReadonlySet<ClusterNode>;
  readonly #failures: string[] = [];
  readonly #pending = new Map<Promise<void>, ClusterNode>();
  readonly #startedAt = performance.now();
  readonly #timer: Timer;
  #requests = 0;
  #created = 0;

  constructor(cluster: ClusterHarness, serving: ReadonlySet<ClusterNode>, perSecond: number) {
    this.#cluster = cluster;
    this.#serving = serving;
    this.#timer = setInterval(() => this.#send(), 1000 / perSecond);
  }

  get seconds(): number {
    return (performance.now() - this.#startedAt) / 1000;
  }

  /** Waits for the answers of a node that gets no more requests. */
  async idle(node: ClusterNode): Promise<void> {
    await Promise.all([...this.#pending].filter(([, at]) => at === node).map(([request]) => request));
  }

  async stop(): Promise<{ requests: number; failures: readonly string[]; created: number }> {
    clearInterval(this.#timer);
    await Promise.all(this.#pending.keys());
    return { requests: this.#requests, failures: this.#failures, created: this.#created };
  }

  #send(): void {
    for (const node of this.#serving) {
      const n = this.#requests++;
      const request: Promise<void> = (n % 10 === 0 ? this.#change(node, n) : this.#read(node, n))
        .catch((error: unknown) => void this.#failures.push(String(error)))
        .finally(() => this.#pending.delete(request));
      this.#pending.set(request, node);
    }
  }

  async #read(node: ClusterNode, n: number): Promise<void> {
    const { apps } = this.#cluster;
    const token = await tokenAt(node, apps[n % apps.length]!);
    if (/^5\d\d /.test(token)) this.#failures.push(token);
  }

  async #change(node: ClusterNode, n: number): Promise<void> {
    const body = { client: `n15-${n}`, environment: "dev", grants: [] };
    const { code, msg } = await this.#cluster.administer(node, "POST", "/v1/clients", body);
    if (code === 0) this.#created += 1;
    else this.#failures.push(`${code} ${msg}`);
  }
}

async function isReady({ url }: ClusterNode): Promise<boolean> {
  return (await ask(url, "/readyz")).status === 200;
}
