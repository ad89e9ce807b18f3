import { must } from "../faults/fault-case.ts";
import { fakeTime } from "../support/fake-time.ts";
import { Harness } from "../support/harness.ts";
import { ask } from "../support/process-harness.ts";
import { ClusterHarness, type ClusterNode, tokenAt } from "./cluster-harness.ts";
import { distribution } from "./watching.ts";

/** A node learns once a second that its database is away. */
const LOOK_MS = 1000;
const PATIENCE_MS = 60_000;

/** How long nodes are cut from the database. Bounds are milliseconds; the default is what a machine keeps to that does much else. */
export interface CutOptions {
  /** Of one whose line is cut, and one whose line is silent. */
  readonly cutMs: number;
  readonly silentMs: number;
  readonly cutOffAfterMs: number;
  /** In which a node that is cut says that it is not ready; default 8,000. */
  readonly notReadyMs?: number;
  /** In which a node that is back knows what it has missed; default 11,000. */
  readonly equalMs?: number;
  /** By how much the end of what a node hands out may be missed, each way; default 3,000. */
  readonly slackMs?: number;
}

/**
 * N08, M5: nodes that are cut from the database hand out what they have until they have been so for too long, change
 * nothing, and know what they have missed as soon as they are back.
 */
export async function cutNodes(cluster: ClusterHarness, options: CutOptions): Promise<string> {
  const { cutMs, silentMs, cutOffAfterMs, slackMs = 3000 } = options;
  const [near, brief, long] = await cluster.start(3, { CUT_OFF_AFTER: String(cutOffAfterMs / 1000) });
  const [app = "", cold = ""] = cluster.apps;
  const cut = [
    { node: brief!, forMs: cutMs },
    { node: long!, forMs: silentMs },
  ];
  const warm = await tokenAt(near!, app);
  for (const { node } of cut)
    await Harness.until(async () => (await tokenAt(node, app)) === warm, PATIENCE_MS);
  brief!.line.cut();
  long!.line.halt();
  const cutAt = performance.now();
  let next = "";
  const others = async () => {
    cluster.sandbox.killTokens(app);
    must(
      (await ask(near!.url, "/AccessToken/clearXcx", { appid: app })).code === 0,
      "a node can change nothing",
    );
    next = await tokenAt(near!, app);
    must(
      next !== warm && cluster.sandbox.accepts(next),
      "the node that is left hands out what it has cleared",
    );
  };
  const watch = async ({ node, forMs }: (typeof cut)[number]) => {
    const notReadyMs = await timeUntil(async () => !(await isReady(node)));
    must(notReadyMs <= (options.notReadyMs ?? 8000), `it was ready for ${Math.round(notReadyMs)} ms`);
    await mustRefuse(ask(node.url, "/AccessToken/clearXcx", { appid: app }));
    await mustRefuse(ask(node.url, "/AccessToken/getXcx", { appid: cold }));
    let reads = 0;
    for (; performance.now() - cutAt < forMs; reads++, await Bun.sleep(20)) {
      const sentMs = performance.now() - cutAt;
      const answer = await tokenAt(node, app);
      const answeredMs = performance.now() - cutAt;
      if (answeredMs < cutOffAfterMs - slackMs)
        must(answer === warm, `after ${Math.round(sentMs)} ms: ${answer}`);
      else if (sentMs > cutOffAfterMs + LOOK_MS + slackMs)
        must(answer.startsWith("503 "), `after ${Math.round(sentMs)} ms it still hands out`);
    }
    node.line.restore();
    const equalMs = await timeUntil(async () => (await isReady(node)) && (await tokenAt(node, app)) === next);
    must(equalMs <= (options.equalMs ?? 11_000), `it was behind for ${Math.round(equalMs)} ms`);
    return `not ready after ${Math.round(notReadyMs)} ms, ${reads} reads, equal ${Math.round(equalMs)} ms after`;
  };
  const [watched] = await Promise.all([Promise.all(cut.map(watch)), others()]);
  return watched.join("; ");
}

/** How a database is restarted, and what is asked meanwhile. */
export interface RestartOptions {
  readonly count: number;
  readonly perSecond: number;
  readonly downMs: number;
}

/** N09, M5: while the database restarts no warm read fails, and what is cold is told when to come again. */
export async function restartedDatabase(
  cluster: ClusterHarness,
  { count, perSecond, downMs }: RestartOptions,
): Promise<string> {
  const nodes = await cluster.start(3);
  const [app = "", ...others] = cluster.apps;
  const warm = await tokenAt(nodes[0]!, app);
  for (const node of nodes) await Harness.until(async () => (await tokenAt(node, app)) === warm, PATIENCE_MS);
  const reading = readAtRate(nodes, app, perSecond);
  const backMs: number[] = [];
  for (let n = 0; n < count; n++) {
    const cold = others[n % others.length]!;
    await cluster.server.signal(n % 2 === 0 ? "SIGQUIT" : "SIGINT");
    for (const node of nodes) await mustRefuse(ask(node.url, "/AccessToken/getXcx", { appid: cold }));
    await Bun.sleep(downMs);
    await cluster.server.resume();
    const back = timeUntil(async () => (await Promise.all(nodes.map(isReady))).every(Boolean));
    backMs.push(await back.catch(() => mustBeReady(nodes)));
    if (n >= others.length - 1) break;
    await Harness.until(async () => cluster.sandbox.accepts(await tokenAt(nodes[n % 3]!, cold)), PATIENCE_MS);
  }
  const { answers, reads } = await reading.stop();
  const odd = [...answers].filter((answer) => answer !== warm);
  must(odd.length === 0, `a warm read failed: ${odd[0]}`);
  return `${count} restarts, ${reads} warm reads, 0 failed; ready again ${distribution(backMs)}`;
}

/** The clocks of a cluster, as faketime has them. */
export interface ClockOptions {
  readonly nodes: readonly string[];
  readonly lives: number;
}

/** In which tokens live in a cluster for `wrongClocks`: shorter ones leave no time to renew them in. */
export const LIFE_SECONDS = 60;

/** N11, M7: where every clock is another, no node hands out a token past its end, and all are renewed before. */
export async function wrongClocks(
  cluster: ClusterHarness,
  { nodes: offsets, lives }: ClockOptions,
): Promise<string> {
  const nodes: ClusterNode[] = [];
  for (const offset of offsets) nodes.push(...(await cluster.start(1, fakeTime({ offset }))));
  for (const [n, node] of nodes.entries()) await seesTime(node, offsets[n]!);
  const apps = cluster.apps;
  const watchMs = LIFE_SECONDS * 1000 * lives + 5000;
  let reads = 0;
  const watch = async (node: ClusterNode) => {
    for (const end = performance.now() + watchMs; performance.now() < end; await Bun.sleep(100)) {
      for (const app of apps) {
        const token = await tokenAt(node, app);
        must(!token.startsWith("503 "), `a token was not renewed in time: ${token}`);
        must(cluster.sandbox.accepts(token), `a token was handed out past its end: ${token}`);
        reads++;
      }
    }
  };
  await Promise.all(nodes.map(watch));
  const calls = cluster.sandbox.calls("/cgi-bin/stable_token");
  must(calls > apps.length * lives, `${calls} upstream calls for ${lives} lives of ${apps.length} apps`);
  return `${reads} handed out, 0 past the end, ${calls} upstream calls for ${apps.length} apps and ${lives} lives`;
}

/** Throws unless the log of a node is written by a clock that is off by as much. */
async function seesTime({ service }: ClusterNode, offset: string): Promise<void> {
  const [, time = ""] = await service.find(/"time":"([^"]+)"/);
  const offMs = Date.parse(time) - Date.now() - Number.parseInt(offset, 10) * 1000;
  must(Math.abs(offMs) < 30_000, `a node whose clock is ${offset} off wrote at ${time}`);
}

/** Sends so many reads a second, whatever the answers take. */
function readAtRate(nodes: readonly ClusterNode[], app: string, perSecond: number) {
  const answers = new Set<string>();
  const pending = new Set<Promise<unknown>>();
  const startedAt = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    const due = ((performance.now() - startedAt) / 1000) * perSecond;
    // On a machine that can't answer as many, fewer are sent.
    for (; sent < due; sent++) {
      if (pending.size >= perSecond / 4) continue;
      const read: Promise<unknown> = tokenAt(nodes[sent % nodes.length]!, app)
        .catch((error: unknown) => String(error))
        .then((answer) => answers.add(answer))
        .finally(() => pending.delete(read));
      pending.add(read);
      reads++;
    }
  }, 2);
  let reads = 0;
  return {
    stop: async () => {
      clearInterval(timer);
      await Promise.all(pending);
      return { answers, reads };
    },
  };
}

/** Throws unless a request is refused, and is told when to come again. */
async function mustRefuse(asked: ReturnType<typeof ask>): Promise<void> {
  const { code, text } = await asked;
  must(code === 503 && text.includes('"retry_after":'), `without a database: ${text}`);
}

async function isReady({ url }: ClusterNode): Promise<boolean> {
  return (await ask(url, "/readyz")).status === 200;
}

/** Throws with what the nodes say of it. */
async function mustBeReady(nodes: readonly ClusterNode[]): Promise<never> {
  const said = await Promise.all(nodes.map(async ({ url }) => (await ask(url, "/readyz")).text));
  throw new Error(`the nodes are not ready again: ${said.join("\n")}`);
}

async function timeUntil(isSo: () => Promise<boolean>): Promise<number> {
  const since = performance.now();
  await Harness.until(isSo, PATIENCE_MS);
  return performance.now() - since;
}
