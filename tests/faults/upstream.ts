import { Database } from "bun:sqlite";
import type { Child } from "../support/child.ts";
import { comesTrue, type FaultCase, type FaultOptions, must, mustFail, type Outcome } from "./fault-case.ts";
import { appsOf, type FaultApp, FaultHarness, getToken, type Got, post } from "./fault-harness.ts";
import { UPSTREAM_FAULTS, type UpstreamFault } from "./upstream-faults.ts";

const MAX_ATTEMPTS = 3;
/** What the service may take, and what the way there and back takes on a busy machine. */
const ANSWER_MS = 8000;
const WAY_MS = 700;
const SERVED_MS = 10;
/** A machine with other work delays one or two of a hundred; a credential that waits for WeChat delays them all. */
const MAX_LATE_SHARE = 0.02;
const GETS = 50;

/** What our own answers may be; 500 would be a fault of ours that nobody has thought of. */
const OWN_CODES = new Set([502, 503, 504]);

/** Each fault of WeChat's with a credential that lives, and with none. */
export function upstreamCases({ program }: FaultOptions): FaultCase[] {
  return [
    { name: "upstream: controls", run: () => controls(program) },
    ...UPSTREAM_FAULTS.flatMap((fault) => [
      { name: `upstream: ${fault.name}; alive`, run: () => withLiving(program, fault) },
      { name: `upstream: ${fault.name}; none`, run: () => withNone(program, fault) },
    ]),
  ];
}

/** What a caller sees, and what it cost. */
interface Observation {
  readonly answer: Got;
  readonly tookMs: number;
  readonly attempts: number | undefined;
  /** Of the app, in the database. */
  readonly hasStored: boolean;
}

function judgeNone({ answer, tookMs, attempts, hasStored }: Observation): void {
  must(answer.code !== 0, "a credential was made of nothing");
  must(OWN_CODES.has(answer.code) || answer.code > 1000 || answer.code < 0, `untyped: ${answer.code}`);
  must(
    answer.msg !== "" && !answer.msg.includes("70_"),
    `the message is not fit for a caller: ${answer.msg}`,
  );
  must(tookMs <= ANSWER_MS + WAY_MS, `the answer took ${Math.round(tookMs)} ms`);
  must((attempts ?? 0) <= MAX_ATTEMPTS, `${attempts} attempts`);
  must(!hasStored, "something was stored");
}

function judgeLiving(served: readonly Got[], value: string, durationsMs: readonly number[]): void {
  const wrong = served.find((each) => each.code !== 0 || each.value !== value);
  must(!wrong, `the living credential was not served: ${wrong?.code} ${wrong?.msg}`);
  must(
    durationsMs.length >= served.length,
    `${durationsMs.length} of ${served.length} answers are in the log`,
  );
  const late = durationsMs.filter((ms) => ms >= SERVED_MS);
  must(
    late.length <= MAX_LATE_SHARE * durationsMs.length,
    `${late.length} of ${durationsMs.length} answers took ${SERVED_MS} ms and more: ${late.join(", ")}`,
  );
}

async function withNone(program: readonly string[], fault: UpstreamFault): Promise<Outcome> {
  await using world = new FaultHarness(program, appsOf(1, "stable"));
  await using mounted = await fault.mount(world);
  const observed = await observeNone(world, mounted.url, mounted.attempts);
  judgeNone(observed);
  const { answer, tookMs, attempts } = observed;
  return {
    figures: `code ${answer.code} in ${Math.round(tookMs)} ms, ${attempts ?? "no"} requests got through`,
  };
}

async function observeNone(
  world: FaultHarness,
  upstreamUrl: string | undefined,
  attempts: () => number | undefined,
): Promise<Observation> {
  const app = onlyApp(world);
  const { url } = await world.serve(upstreamUrl === undefined ? {} : { WEIXIN_BASE_URL: upstreamUrl });
  const startedAt = performance.now();
  const answer = await getToken(url, app);
  const tookMs = performance.now() - startedAt;
  return { answer, tookMs, attempts: attempts(), hasStored: hasStored(world, app) };
}

async function withLiving(program: readonly string[], fault: UpstreamFault): Promise<Outcome> {
  await using world = new FaultHarness(program, appsOf(1, "stable"));
  const app = onlyApp(world);
  const value = await obtainAndStop(world, app);
  await using mounted = await fault.mount(world);
  const { service, url } = await world.serve({
    LOG_LEVEL: "debug",
    ...(mounted.url === undefined ? {} : { WEIXIN_BASE_URL: mounted.url }),
  });
  // A process's first requests compile it and read its database; they are not about WeChat.
  const warm = await getMany(url, app, GETS);
  const startedAt = performance.now();
  const renewal = post(url, app, "/refresh", {}).then((got) => ({ got, ms: performance.now() - startedAt }));
  // While it runs, and when it has failed.
  const served = await getMany(url, app, GETS);
  const { got, ms } = await renewal;
  served.push(...(await getMany(url, app, GETS)));
  must(got.code !== 0, "the renewal did not fail");
  must(ms <= ANSWER_MS + WAY_MS, `the renewal took ${Math.round(ms)} ms`);
  const attempts = mounted.attempts();
  must((attempts ?? 0) <= MAX_ATTEMPTS, `${attempts} attempts`);
  const durationsMs = (await durationsOf(service, warm.length + served.length)).slice(warm.length);
  judgeLiving(served, value, durationsMs);
  const [middle, most] = [percentile(durationsMs, 0.5), percentile(durationsMs, 1)];
  return {
    figures: `${served.length} served, median ${middle.toFixed(2)} ms, most ${most.toFixed(2)} ms; renewal ${got.code} in ${Math.round(ms)} ms, ${attempts ?? "no"} requests`,
  };
}

/** A credential in the database that lives two hours; its service is gone. */
async function obtainAndStop(world: FaultHarness, app: FaultApp): Promise<string> {
  const { service, url } = await world.serve();
  const { code, value } = await getToken(url, app);
  must(code === 0, "the sandbox hands out a token");
  service.signal("SIGTERM");
  await service.exited();
  return value;
}

async function getMany(url: string, app: FaultApp, count: number): Promise<Got[]> {
  const all: Got[] = [];
  for (let round = 0; round < count; round++) all.push(await getToken(url, app));
  return all;
}

/** How long the service itself took for each get of a credential, as it says in its log. */
async function durationsOf(service: Child, count: number): Promise<number[]> {
  const pattern = /"method":"GET","route":"\/v1\/apps\/:app\/credentials\/:kind".*?"durationMs":([\d.]+)/g;
  const read = () => [...service.stdout.matchAll(pattern)].map(([, ms]) => Number(ms));
  await comesTrue(2000, async () => read().length >= count);
  return read();
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

function hasStored(world: FaultHarness, { appId }: FaultApp): boolean {
  using database = new Database(world.databasePath, { readonly: true });
  return (
    database.query("SELECT 1 FROM credentials WHERE app_id = ? AND value IS NOT NULL").get(appId) !== null
  );
}

function onlyApp({ apps: [app] }: FaultHarness): FaultApp {
  if (!app) throw new Error("there is no app");
  return app;
}

async function controls(program: readonly string[]): Promise<Outcome> {
  await using world = new FaultHarness(program, appsOf(1, "stable"));
  const sound = await observeNone(world, undefined, () => world.tokenCalls());
  const failed: Observation = {
    answer: { code: 502, msg: "failed", value: "", expiresIn: 0 },
    tookMs: 10,
    attempts: 3,
    hasStored: false,
  };
  judgeNone(failed);
  const found = [
    await mustFail("a WeChat that is sound", () => judgeNone(sound)),
    await mustFail("something stored", () => judgeNone({ ...failed, hasStored: sound.hasStored })),
    await mustFail("a fourth attempt", () => judgeNone({ ...failed, attempts: 4 })),
    await mustFail("a queue of time-outs", () => judgeNone({ ...failed, tookMs: 8800 })),
    await mustFail("an untyped error", () =>
      judgeNone({ ...failed, answer: { ...failed.answer, code: 500 } }),
    ),
    await mustFail("another value", () => judgeLiving([sound.answer], "another", [0.1])),
    await mustFail("a slow answer", () => judgeLiving([sound.answer], sound.answer.value, [12])),
  ];
  return { figures: found.join("; ") };
}
