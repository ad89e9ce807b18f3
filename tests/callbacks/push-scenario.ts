import { systemClock } from "../../src/clock.ts";
import { decryptPush } from "../../src/callbacks/push-crypto.ts";
import { readPushFields } from "../../src/callbacks/push-fields.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import type { Child } from "../support/child.ts";
import { Harness, WX } from "../support/harness.ts";
import { ProcessHarness } from "../support/process-harness.ts";
import { type Arrived, KEY, Receiver, setCallbacks, textPush, textReply } from "./push-world.ts";

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
  /** How often the service is killed and started again while they come. */
  readonly kills: number;
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

/**
 * P9: pushes whose primary is fast, slow, dead, wrong or late, while the service, a program in a process of its own, is
 * killed again and again.
 */
export async function runPushScenario(
  program: readonly string[],
  scenario: PushScenario,
): Promise<PushReport> {
  const { pushes, kills, concurrency = 4 } = scenario;
  await using it = new ProcessHarness(program);
  await using prod = new Receiver(behave);
  await using dev = new Receiver(() => textReply("never passed on"));
  const port = freePort();
  const environment = { PORT: String(port), CALLBACK_NETWORKS: "127.0.0.0/8", LOG_LEVEL: "error" };
  let service: Child | undefined;
  const url = `http://127.0.0.1:${port}`;
  const isUp = () =>
    fetch(`${url}/livez`).then(
      ({ ok }) => ok,
      () => false,
    );
  const start = async () => {
    service = it.run(["serve"], { ...it.variables, ...environment });
    await Harness.until(isUp);
  };
  await start();
  const store = await openSqliteStore({
    ...{ path: `${it.folder}/data/accesstoken.db`, masterKey: undefined, clock: systemClock },
    ...{ masterKeyFile: `${it.folder}/data/master.key`, onKeyCreated: () => undefined },
  });
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
  const sendOnce = async (msgId: string, push: ReturnType<typeof textPush>): Promise<boolean> => {
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
  const send = async (msgId: string, behaviour: string): Promise<void> => {
    const push = textPush({
      msgId,
      content: `${behaviour} ${msgId}`,
      openid: `o${msgId}`,
      now: systemClock.now(),
    });
    for (let tries = 0; tries < TRIES; tries++) {
      if (tries > 0) await Harness.until(isUp);
      if (tries === TRIES - 1) last.add(msgId);
      const isAnswered = await sendOnce(msgId, push);
      last.delete(msgId);
      if (isAnswered) return void answered.push(msgId);
    }
    unanswered.push(msgId);
  };

  // Another one each time: what comes before the routes are known is answered, and goes nowhere.
  let attempts = 0;
  await Harness.until(async () => {
    const msgId = `ready-${++attempts}`;
    await sendOnce(msgId, textPush({ msgId, content: `fast ${msgId}`, now: systemClock.now() }));
    return prod.arrived.length > 0 && dev.arrived.length > 0;
  });
  isReady = true;
  let next = 0;
  const work = async () => {
    while (next < pushes) {
      const n = next++;
      await send(`push-${n}`, BEHAVIOURS[n % BEHAVIOURS.length] ?? "fast");
    }
  };
  const working = Promise.all(Array.from({ length: concurrency }, work));
  for (let kill = 1; kill <= kills; kill++) {
    await Harness.until(() => next >= (kill * pushes) / (kills + 1) && last.size === 0);
    service?.signal("SIGKILL");
    await service?.[Symbol.asyncDispose]();
    await start();
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
  const encrypted = readPushFields(Buffer.from(body)).fields.get("Encrypt") ?? "";
  const content = readPushFields(decryptPush(encrypted, KEY).message).fields.get("Content") ?? "";
  const [behaviour = ""] = content.split(" ");
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
    const encrypted = readPushFields(Buffer.from(text)).fields.get("Encrypt") ?? "";
    const content = readPushFields(decryptPush(encrypted, KEY).message).fields.get("Content");
    return content === `prod ${msgId}` ? "reply" : undefined;
  } catch {
    return undefined;
  }
}

function freePort(): number {
  using server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
  return server.port ?? 0;
}
