import { randomBytes } from "node:crypto";
import { systemClock } from "../../src/clock.ts";
import { openPostgresStore } from "../../src/store/postgres/postgres-store.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import type { Store } from "../../src/store/store.ts";
import type { Child } from "../support/child.ts";
import { Harness, WX } from "../support/harness.ts";
import { freePort } from "../support/postgres-server.ts";
import { ProcessHarness } from "../support/process-harness.ts";
import { type Arrived, contentOf, Receiver, setCallbacks, textPush, textReply } from "./push-world.ts";

/** How WeChat's server sends: it cuts a connection after 5 s, and tries three times. */
const CUT_MS = 5000;
const TRIES = 3;
/** How long a target may take, and when the slow and the late one answer. */
const TIMEOUT_MS = 6000;
const SLOW_MS = 300;
const LATE_MS = 5200;
/** How long until every delivery has come, after the last push: leases of killed processes end, and failures are repeated. */
const SETTLED_MS = 120_000;

/** How a primary answers a push, by what its content begins with. */
const BEHAVIOURS = ["fast", "slow", "dead", "wrong", "late"] as const;

/** What a run is to do. */
export interface PushScenario {
  readonly pushes: number;
  /** How often a node of the service is killed and started again while they come. */
  readonly kills: number;
  /** A database of PostgreSQL that two nodes share; default one node on SQLite. */
  readonly databaseUrl?: string;
  /** How many pushes are under way at once; default 4. */
  readonly concurrency?: number;
}

/** What came of it. Only `answers` may have anything in it. */
export interface PushReport {
  /** How often WeChat got what: `reply`, `success`, `nothing` (a connection that was cut, or 5 s were over). */
  readonly answers: Readonly<Record<string, number>>;
  /** Answers that WeChat must not get. */
  readonly wrong: readonly string[];
  /** Pushes that had no answer in three attempts. */
  readonly unanswered: readonly string[];
  /** Pushes that were answered and did not reach a target. */
  readonly missing: readonly string[];
}

/** A node of the service, which answers at the same address after each kill. */
class Node {
  readonly url: string;
  readonly #start: () => Child;
  #service: Child;

  constructor(port: number, start: (env: Record<string, string>) => Child) {
    this.url = `http://127.0.0.1:${port}`;
    this.#start = () => start({ PORT: String(port) });
    this.#service = this.#start();
  }

  isUp(): Promise<boolean> {
    return fetch(`${this.url}/livez`).then(
      ({ ok }) => ok,
      () => false,
    );
  }

  async kill(): Promise<void> {
    this.#service.signal("SIGKILL");
    await this.#service[Symbol.asyncDispose]();
    this.#service = this.#start();
    await Harness.until(() => this.isUp());
  }
}

/** The store of the nodes, as another process has it. */
function openStore(folder: string, url: string | undefined): Promise<Store> {
  const key = { masterKey: undefined, masterKeyFile: `${folder}/${url ? "" : "data/"}master.key` };
  const parts = { ...key, clock: systemClock, onKeyCreated: () => undefined };
  if (url === undefined) return openSqliteStore({ ...parts, path: `${folder}/data/accesstoken.db` });
  return openPostgresStore({ ...parts, address: { url, password: undefined }, waitMs: 0 });
}

/**
 * P9: pushes whose primary is fast, slow, dead, wrong or late, while the service, a program in processes of its own, is
 * killed again and again. WeChat's attempts at one push go to one node after the other.
 */
export async function runPushScenario(
  program: readonly string[],
  scenario: PushScenario,
): Promise<PushReport> {
  const { pushes, kills, concurrency = 4, databaseUrl } = scenario;
  await using it = new ProcessHarness(program);
  await using prod = new Receiver(behave);
  await using dev = new Receiver(() => textReply("never passed on"));
  const environment = { CALLBACK_NETWORKS: "127.0.0.0/8", LOG_LEVEL: "error" };
  if (databaseUrl !== undefined) it.write("master.key", randomBytes(32).toString("hex"));
  const shared = databaseUrl && { DATABASE_URL: databaseUrl, MASTER_KEY_FILE: "master.key" };
  const start = (env: Record<string, string>) =>
    it.run(["serve"], { ...it.variables, ...environment, ...(shared || {}), ...env });
  const nodes: Node[] = [];
  for (let n = 0; n < (databaseUrl === undefined ? 1 : 2); n++) {
    const node = new Node(freePort(), start);
    nodes.push(node);
    // The first one makes the tables.
    await Harness.until(() => node.isUp());
  }
  const nodeFor = (n: number) => nodes[n % nodes.length]!;
  const store = await openStore(it.folder, databaseUrl);
  await setCallbacks(store, {
    targets: [
      { name: "prod", url: prod.url, timeoutMs: TIMEOUT_MS },
      { name: "dev", url: dev.url, environment: "dev", timeoutMs: TIMEOUT_MS },
    ],
  });
  store.close();

  const answers: Record<string, number> = { reply: 0, success: 0, nothing: 0 };
  const [wrong, unanswered, answered]: [string[], string[], string[]] = [[], [], []];
  const note = (kind: string) => (answers[kind] = (answers[kind] ?? 0) + 1);
  /** Those that WeChat sends for the last time: what is cut then is nobody's to repeat. */
  const last = new Set<string>();
  let isReady = false;
  const sendOnce = async (
    { url }: Node,
    msgId: string,
    push: ReturnType<typeof textPush>,
  ): Promise<boolean> => {
    try {
      const { query, body, contentType } = push;
      const response = await fetch(`${url}/callback/${WX.appId}?${query}`, {
        ...{ method: "POST", headers: { "content-type": contentType }, body },
        ...{ keepalive: false, signal: AbortSignal.timeout(CUT_MS) },
      });
      const text = await response.text();
      // Settings that were written a moment ago need a quarter of a second.
      if (!isReady && response.status === 403) return false;
      const kind = kindOf(response.status, text, msgId);
      if (kind === undefined) wrong.push(`${msgId}: ${response.status} ${text}`);
      else note(kind);
      return true;
    } catch {
      note("nothing");
      return false;
    }
  };
  const send = async (n: number): Promise<void> => {
    const msgId = `push-${n}`;
    const push = textPush({
      msgId,
      content: `${BEHAVIOURS[n % BEHAVIOURS.length]} ${msgId}`,
      openid: `o${msgId}`,
      now: systemClock.now(),
    });
    for (let tries = 0; tries < TRIES; tries++) {
      const node = nodeFor(n + tries);
      if (tries > 0) await Harness.until(() => node.isUp());
      if (tries === TRIES - 1) last.add(msgId);
      const isAnswered = await sendOnce(node, msgId, push);
      last.delete(msgId);
      if (isAnswered) return void answered.push(msgId);
    }
    unanswered.push(msgId);
  };

  // Another one each time: what comes before the routes are known is answered, and goes nowhere.
  let attempts = 0;
  for (const node of nodes)
    await Harness.until(async () => {
      const msgId = `ready-${++attempts}`;
      await sendOnce(node, msgId, textPush({ msgId, content: `fast ${msgId}`, now: systemClock.now() }));
      return prod.keys.includes(msgId) && dev.arrived.length > 0;
    });
  isReady = true;
  let next = 0;
  const work = async () => {
    while (next < pushes) await send(next++);
  };
  const working = Promise.all(Array.from({ length: concurrency }, work));
  for (let kill = 1; kill <= kills; kill++) {
    await Harness.until(() => next >= (kill * pushes) / (kills + 1) && last.size === 0);
    await nodeFor(kill).kill();
  }
  await working;
  prod.behave = () => undefined;
  const missing = () =>
    answered.flatMap((msgId) =>
      [prod, dev].flatMap((target, index) =>
        target.keys.includes(msgId) ? [] : [`${msgId} at ${["prod", "dev"][index]}`],
      ),
    );
  await Harness.until(() => missing().length === 0, SETTLED_MS).catch(() => undefined);
  return { answers, wrong, unanswered, missing: missing() };
}

/** The answer of a primary; of a dead one, only from the second attempt on. */
async function behave({ body, headers }: Arrived): Promise<Response> {
  const [behaviour = ""] = contentOf(body)?.split(" ") ?? [];
  if (behaviour === "slow") await Bun.sleep(SLOW_MS);
  if (behaviour === "late") await Bun.sleep(LATE_MS);
  if (behaviour === "dead") return new Response(null, { status: 503 });
  if (behaviour === "wrong") return new Response("<html>an error</html>");
  return textReply(`prod ${headers.get("x-accesstoken-delivery")}`);
}

/** What WeChat got; undefined for what it must not get. */
function kindOf(status: number, text: string, msgId: string): string | undefined {
  if (status !== 200) return undefined;
  if (text === "success") return "success";
  try {
    return contentOf(text) === `prod ${msgId}` ? "reply" : undefined;
  } catch {
    return undefined;
  }
}
