import { join } from "node:path";
import { ClusterHarness, type ClusterNode, type ClusterOptions } from "../cluster/cluster-harness.ts";
import { killedHolders, stoppedHolder } from "../cluster/holders.ts";
import { nemesis } from "../cluster/nemesis.ts";
import { cutNodes, LIFE_SECONDS, restartedDatabase, wrongClocks } from "../cluster/outages.ts";
import { renewedThroughKills } from "../cluster/renewals.ts";
import { sharedLimit } from "../cluster/shared-limit.ts";
import { auditedChanges, coldCallers, lostNotifications, seenChanges } from "../cluster/sharing.ts";
import { silentListeners } from "../cluster/silent-listeners.ts";
import { fakeTime, hasFakeTime, NO_FAKE_TIME } from "../support/fake-time.ts";
import { hasPgbouncer, Pgbouncer } from "../support/pgbouncer.ts";
import { hasPostgres, PostgresServer } from "../support/postgres-server.ts";
import { type FaultCase, type FaultOptions, mustFail } from "./fault-case.ts";

/** Where the failure of a machine is played through so often, it is done in several cases: a run that was broken off resumes. */
const PARTS = 10;
/** The bounds are the service's own: while this runs the machine does nothing else. */
const SEEN_MS = 1200;
const STOP_MS = 15_000;
/** Longer than `CUT_OFF_AFTER` is by default. */
const SILENT_MS = 400_000;
const NEMESIS_SIZE = { ms: 60_000, nodes: 3, apps: 12 };

const CONTROLS = join(import.meta.dir, "../cluster");
const control = (name: string) => [process.execPath, join(CONTROLS, name)];

/** What the tests of `tests/cluster` play through a few times, as often as it must be: three nodes on one PostgreSQL. */
export function clusterCases({ program, seeds }: FaultOptions): FaultCase[] {
  const withCluster = async (options: ClusterOptions, run: (cluster: ClusterHarness) => Promise<string>) => {
    await using cluster = await ClusterHarness.create({ program, ...options });
    return await run(cluster);
  };
  /** A scenario with three nodes that are there already. */
  const withNodes = (
    options: ClusterOptions,
    run: (cluster: ClusterHarness, nodes: readonly ClusterNode[]) => Promise<string>,
    env: Record<string, string> = {},
  ) => withCluster(options, async (cluster) => run(cluster, await cluster.start(3, env)));
  const withServer = async (
    options: ClusterOptions,
    run: (cluster: ClusterHarness) => Promise<string>,
    clock: Record<string, string> = {},
  ) => {
    const server = await PostgresServer.start({}, clock);
    try {
      return await withCluster({ ...options, server }, run);
    } finally {
      server.stop();
    }
  };
  const withPooler = async (
    options: ClusterOptions,
    run: (cluster: ClusterHarness, nodes: readonly ClusterNode[]) => Promise<string>,
  ) => {
    using bouncer = await Pgbouncer.start(await PostgresServer.shared());
    return await withNodes({ ...options, entrance: (url) => bouncer.through(url) }, run, UNLIMITED);
  };
  const parts = (name: string, run: () => Promise<string>, count = PARTS) =>
    Array.from({ length: count }, (_, n) => of(`${name}, part ${n + 1} of ${count}`, run));
  const clocks = (nodes: readonly string[], lives: number, odd: ClusterOptions = {}) =>
    withServer(
      { apps: 3, sandbox: { tokenLifeSeconds: LIFE_SECONDS }, ...odd },
      (cluster) => wrongClocks(cluster, { nodes, lives }),
      fakeTime({ offset: "+30s" }),
    );
  return [
    ...parts("N01, 10 × 10,000 callers of one app", () =>
      withNodes({ apps: 10 }, (cluster, nodes) => rounds(cluster, nodes, 10), UNLIMITED),
    ),
    ...parts("N01, 10,000 callers of 1,000 apps", () =>
      withNodes({ apps: 1000 }, (cluster, nodes) => rounds(cluster, nodes, 1), UNLIMITED),
    ),
    ...parts("N02, 400 changes", () =>
      withNodes({ apps: 400 }, (cluster, nodes) =>
        seenChanges(cluster, nodes, { count: 400, medianMs: 20, nearlyAllMs: 100, boundMs: SEEN_MS }),
      ),
    ),
    ...parts("N03, 20 lost listeners", () =>
      withNodes({ apps: 20 }, (cluster, nodes) =>
        lostNotifications(cluster, nodes, { count: 20, boundMs: SEEN_MS, latestListeningMs: 2000 }),
      ),
    ),
    of("N04, 20 silent listeners", () =>
      withCluster({ apps: 20 }, (cluster) => silentListeners(cluster, { count: 20 })),
    ),
    of("N05, 10 × 10,000 callers behind a pooler", () =>
      withPooler({ apps: 10 }, (cluster, nodes) => rounds(cluster, nodes, 10)),
    ),
    ...parts("N05, 400 changes behind a pooler", () =>
      withPooler({ apps: 400 }, (cluster, nodes) =>
        seenChanges(cluster, nodes, { count: 400, medianMs: 350 }),
      ),
    ),
    ...(["classic", "stable"] as const).flatMap((mode) =>
      parts(`N06, 20 killed holders, ${mode}`, () =>
        withCluster({ apps: 21, mode }, (cluster) =>
          killedHolders(cluster, { count: 20, isIssued: mode === "classic", nextAttemptMs: 10_500 }),
        ),
      ),
    ),
    ...(["classic", "stable"] as const).flatMap((mode) =>
      parts(`N07, 100 credentials of a stopped holder, ${mode}`, () =>
        withCluster({ apps: 100, mode }, (cluster) => stoppedHolder(cluster, { stopMs: STOP_MS })),
      ),
    ),
    ...parts("N08, cut for 30 s and for 400 s", () =>
      withCluster({}, (cluster) =>
        cutNodes(cluster, { cutMs: 30_000, silentMs: SILENT_MS, cutOffAfterMs: 300_000 }),
      ),
    ),
    of("N09, 20 restarts of the database", () =>
      withServer({ apps: 30 }, (cluster) =>
        restartedDatabase(cluster, { count: 20, perSecond: 500, downMs: 3000 }),
      ),
    ),
    of(
      "N11, clocks of -60, 0, +60 and +30 s",
      () => clocks(["-60s", "+0s", "+60s"], 5),
      hasFakeTime ? "" : NO_FAKE_TIME,
    ),
    of("N12, 10,000 renewals through 60 kills", () =>
      renewedThroughKills({ program }, { apps: 10_000, windowMs: 600_000, killEveryMs: 10_000 }),
    ),
    of("N13, 3,000 audited changes", () =>
      withNodes({}, (cluster, nodes) => auditedChanges(cluster, nodes, { each: 1000 })),
    ),
    of("N14, 100 a second", () =>
      withCluster({}, (cluster) => sharedLimit(cluster, { perSecond: 100, windowMs: 20_000 })),
    ),
    ...Array.from({ length: seeds }, (_, n) => {
      const seed = n + 1;
      const name = `N16, nemesis, seed ${String(seed).padStart(3, "0")}`;
      return of(name, () => nemesis(seed, { ...NEMESIS_SIZE, program }));
    }),
    of("N18, without self-ping N04 fails", () =>
      mustFail("a listener believes that it hears", () =>
        withCluster({}, (cluster) =>
          silentListeners(cluster, { count: 1, program: control("without-self-ping.ts") }),
        ),
      ),
    ),
    of(
      "N18, with local clocks N11 fails",
      () =>
        mustFail("each node goes by its own clock", () =>
          clocks(["-60s", "+60s"], 1, { program: control("with-local-clock.ts") }),
        ),
      hasFakeTime ? "" : NO_FAKE_TIME,
    ),
    of("N18, without news a nemesis is noticed", () =>
      mustFail("what another node has ended stays in memory", () =>
        nemesis(1, { ...NEMESIS_SIZE, program, odd: control("without-news.ts") }),
      ),
    ),
  ];
}

/** All callers come from one address, more than are let in otherwise. */
const UNLIMITED = { ANONYMOUS_RATE_LIMIT: "0" };
const CALLERS = 10_000;

/** Ten thousand callers, so often, each time of other apps. */
async function rounds(
  cluster: ClusterHarness,
  nodes: readonly ClusterNode[],
  count: number,
): Promise<string> {
  const each = cluster.apps.length / count;
  for (let n = 0; n < count; n++) {
    const apps = cluster.apps.slice(n * each, (n + 1) * each);
    await coldCallers(cluster, nodes, { apps, callers: CALLERS });
  }
  return `${count} × ${CALLERS} callers of ${each} apps, one upstream call for each`;
}

/** A case that needs a PostgreSQL, and what `lacks` names; empty for nothing. */
function of(name: string, run: () => Promise<string>, lacks = ""): FaultCase {
  const isPooled = name.includes("pooler") && !hasPgbouncer;
  const missing = hasPostgres
    ? lacks || (isPooled ? "pgbouncer is not installed" : "")
    : "PostgreSQL is not installed";
  return {
    name: `sweep: cluster, ${name}`,
    run: async () => (missing ? { skipped: missing } : { figures: await run() }),
  };
}
