import { cpSync, rmSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { ask } from "../support/process-harness.ts";
import type { Child } from "../support/child.ts";
import {
  comesTrue,
  type FaultCase,
  type FaultOptions,
  must,
  mustFail,
  type Outcome,
  randomFrom,
} from "./fault-case.ts";
import { appsOf, type FaultApp, FaultHarness, getToken, type Got, post, tokenPath } from "./fault-harness.ts";

const VERBS = ["create", "refresh", "clear", "replace"] as const;
type Verb = (typeof VERBS)[number];

/** So many cycles share a folder, each with an app of its own. */
const CYCLES_PER_CASE = 50;
/**
 * The kill comes at a random moment of so many milliseconds from when the request is sent: at first; then the window
 * grows with each request that was hit, and shrinks with each that was answered, so that both are frequent.
 */
const FIRST_WINDOW_MS = 30;
const GROWTH = 1.2;
/** A lease that a killed process left lives 10 s. */
const LEASE_OVER_MS = 20_000;

/** What the service has promised about an app's token by its answers. */
interface Promised {
  readonly app: FaultApp;
  /**
   * `stands`: `value` is served without asking WeChat. `cleared`: it is not, unless WeChat issues it again. The others
   * are for a request that was not answered: `may_stand`, something that was issued is served without asking;
   * `may_be_cleared`, either of the first two; `open`, nothing is known but what stood before.
   */
  readonly what: "stands" | "cleared" | "may_stand" | "may_be_cleared" | "open";
  /** The empty text for none. */
  readonly value: string;
}

/** Kill -9 at random moments; the caller's record of what was acknowledged against what is served afterwards. */
export function killCases({ cycles, program }: FaultOptions): FaultCase[] {
  const cases: FaultCase[] = [{ name: "kill: controls", run: () => controls(program) }];
  const perVerb = Math.ceil(cycles / VERBS.length);
  for (const [index, verb] of VERBS.entries()) {
    for (let from = 0; from < perVerb; from += CYCLES_PER_CASE) {
      const count = Math.min(CYCLES_PER_CASE, perVerb - from);
      const name = `kill: ${verb}, cycles ${from + 1} to ${from + count}`;
      cases.push({ name, run: () => killWhile(program, verb, count, index * 100_003 + from) });
    }
  }
  return cases;
}

async function killWhile(
  program: readonly string[],
  verb: Verb,
  cycles: number,
  seed: number,
): Promise<Outcome> {
  const random = randomFrom(seed);
  await using world = new FaultHarness(program, appsOf(cycles));
  const promises: Promised[] = [];
  let hits = 0;
  let windowMs = FIRST_WINDOW_MS;
  let { service, url } = await world.serve();
  for (const app of world.apps) {
    const before = verb === "create" ? "" : await valueOf(url, app);
    if (verb === "replace") world.sandbox.killTokens(app.appId);
    if (random() < 0.5) world.sandbox.inject({ kind: "delay", ms: random() * 8, times: 1 });
    const request = send(verb, url, app, before);
    await kill(service, random() * windowMs);
    const answer = await request;
    world.sandbox.clearFaults();
    if (answer === undefined) hits++;
    windowMs *= answer === undefined ? GROWTH : 1 / GROWTH;
    const promised = promisedBy(verb, app, before, answer);
    ({ service, url } = await world.serve());
    // What the killed process left open may be leased for some seconds yet; that is looked at in the end.
    if (promised.what !== "open") await check(world, url, promised);
    promises.push(promised);
  }
  for (const promised of promises) await checkAtLast(world, url, promised, verb);
  return {
    figures: `${cycles} kills, ${hits} hit the running request, ${cycles - hits} acknowledged, 0 lost`,
  };
}

/** The answer; undefined when the process was killed before it. */
async function send(verb: Verb, url: string, app: FaultApp, before: string): Promise<Got | undefined> {
  try {
    if (verb === "create") return await getToken(url, app);
    if (verb === "refresh") return await post(url, app, "/refresh", { force: true });
    if (verb === "replace") return await post(url, app, "/replace", { rejected: before });
    const { code, msg } = await ask(url, tokenPath(app), {}, { method: "DELETE" });
    return { code, msg, value: "", expiresIn: 0 };
  } catch {
    return undefined;
  }
}

const WITHOUT_ANSWER = {
  create: "open",
  // What stood before was acknowledged too: a refresh that came to no end must not take it away.
  refresh: "may_stand",
  clear: "may_be_cleared",
  replace: "open",
} as const satisfies Record<Verb, Promised["what"]>;

function promisedBy(verb: Verb, app: FaultApp, before: string, answer: Got | undefined): Promised {
  if (answer === undefined) return { app, what: WITHOUT_ANSWER[verb], value: before };
  must(answer.code === 0, `${verb} of ${app.appId} was answered with ${answer.code} ${answer.msg}`);
  if (verb === "clear") return { app, what: "cleared", value: before };
  return { app, what: "stands", value: answer.value };
}

/** Kills the service `ms` milliseconds from now, and waits for its end. */
async function kill(service: Child, ms: number): Promise<void> {
  const at = performance.now() + ms;
  while (performance.now() < at) await nextTurn();
  service.signal("SIGKILL");
  await service.exited();
}

/** Asks for the token and compares with what was promised. */
async function check(world: FaultHarness, url: string, promised: Promised): Promise<void> {
  const { app, what, value } = promised;
  const callsBefore = world.tokenCalls();
  const got = await getToken(url, app);
  const isIssuedNow = world.tokenCalls() > callsBefore;
  must(got.code === 0, `${app.appId} (${app.mode}): ${got.code} ${got.msg}`);
  must(world.sandbox.accepts(got.value), `${app.appId} (${app.mode}): a value that WeChat refuses is served`);
  if (what === "stands") {
    must(!isIssuedNow && got.value === value, `${app.appId} (${app.mode}): an acknowledged value was lost`);
  }
  if (what === "cleared")
    must(isIssuedNow, `${app.appId} (${app.mode}): a value is served after an acknowledged clear`);
  if (what === "may_stand") must(!isIssuedNow, `${app.appId} (${app.mode}): an acknowledged value was lost`);
  if (what === "may_be_cleared")
    must(isIssuedNow || got.value === value, `${app.appId} (${app.mode}): a value came from nowhere`);
}

async function checkAtLast(
  world: FaultHarness,
  url: string,
  { app, what, value }: Promised,
  verb: Verb,
): Promise<void> {
  let got = await getToken(url, app);
  const isGood = async () => {
    // Nobody has acknowledged that the dead value is known; whoever holds it complains again.
    got =
      verb === "replace" && got.value === value && what === "open"
        ? await post(url, app, "/replace", { rejected: value })
        : await getToken(url, app);
    return got.code === 0 && world.sandbox.accepts(got.value);
  };
  const isServed = await comesTrue(LEASE_OVER_MS, isGood);
  must(isServed, `${app.appId} (${app.mode}): nothing good is served after ${verb}: ${got.code} ${got.msg}`);
  if (what === "stands")
    must(got.value === value, `${app.appId} (${app.mode}): an acknowledged value was lost later`);
  if (what === "cleared" && app.mode === "classic")
    must(got.value !== value, `${app.appId}: a cleared value came back`);
}

async function valueOf(url: string, app: FaultApp): Promise<string> {
  const got = await getToken(url, app);
  must(got.code === 0, `${app.appId}: ${got.code} ${got.msg}`);
  return got.value;
}

/** The data folder is put back to how it was before an acknowledged write: what a lost write looks like. */
async function controls(program: readonly string[]): Promise<Outcome> {
  const found: string[] = [];
  for (const verb of ["create", "clear"] as const) {
    await using world = new FaultHarness(program, appsOf(1));
    const [app] = world.apps;
    must(app !== undefined, "there is an app");
    const [data, copy] = [`${world.folder}/data`, `${world.folder}/copy`];
    let { service, url } = await world.serve();
    const before = verb === "clear" ? await valueOf(url, app) : "";
    await kill(service, 0);
    cpSync(data, copy, { recursive: true });
    ({ service, url } = await world.serve());
    const promised = promisedBy(verb, app, before, await send(verb, url, app, before));
    await kill(service, 0);
    rmSync(data, { recursive: true });
    cpSync(copy, data, { recursive: true });
    ({ service, url } = await world.serve());
    found.push(await mustFail(`a ${verb} whose write is taken back`, () => check(world, url, promised)));
  }
  return { figures: found.join("; ") };
}
