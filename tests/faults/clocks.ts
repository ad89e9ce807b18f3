import { renameSync, writeFileSync } from "node:fs";
import type { Child } from "../support/child.ts";
import { fakeTime, hasFakeTime, NO_FAKE_TIME } from "../support/fake-time.ts";
import { comesTrue, type FaultCase, type FaultOptions, must, mustFail, type Outcome } from "./fault-case.ts";
import { appsOf, type FaultApp, FaultHarness, getToken, type Got } from "./fault-harness.ts";

const HOUR_MS = 3_600_000;
/** What faketime understands, and what it means. */
const JUMPS: readonly { readonly name: string; readonly offset: string; readonly ms: number }[] = [
  { name: "+3 h", offset: "+3h", ms: 3 * HOUR_MS },
  { name: "-1 h", offset: "-1h", ms: -HOUR_MS },
  { name: "+10 years", offset: "+3650d", ms: 3650 * 24 * HOUR_MS },
];
/** Tokens live so long at WeChat that they really die within a case; shorter ones leave no seconds to renew them in. */
const LIFE_SECONDS = 60;
const WATCH_MS = 66_000;
const ASK_EVERY_MS = 100;
/** Two lives and a jump, each with a few questions for a stable token that is repeated; a storm would be hundreds. */
const MAX_CALLS_PER_APP = 10;

/** A machine's clock that jumps, under a running service and between two starts. */
export function clockCases({ program }: FaultOptions): FaultCase[] {
  const jump = (name: string, run: () => Promise<Outcome>) => ({
    name: `clock: ${name}`,
    run: async () => (hasFakeTime ? run() : { skipped: NO_FAKE_TIME }),
  });
  const names = JUMPS.map(({ name }) => name).join(", ");
  return [
    jump("controls", () => controls(program)),
    jump(`${WRONG_STARTS} starts with a wrong clock, the audit`, () => wrongStarts(program)),
    jump(`${names}, while it runs`, () => allJumps((offset, ms) => jumpWhileRunning(program, offset, ms))),
    jump(`${names}, between two starts`, () =>
      allJumps((offset, ms) => jumpBetweenStarts(program, offset, ms)),
    ),
  ];
}

/** Every jump at the same time, each in a world of its own: nearly all of it is waiting. */
async function allJumps(run: (offset: string, ms: number) => Promise<string>): Promise<Outcome> {
  const figures = await Promise.all(
    JUMPS.map(async ({ name, offset, ms }) => `${name}: ${await run(offset, ms)}`),
  );
  return { figures: figures.join("; ") };
}

/** A folder whose services see the wall clock that a file says; their monotonic clock stays the machine's. */
class ClockHarness extends FaultHarness {
  constructor(program: readonly string[]) {
    super(program, appsOf(2), { tokenLifeSeconds: LIFE_SECONDS });
    this.set("+0");
  }

  override get variables(): Record<string, string> {
    return { ...super.variables, ...fakeTime({ file: `${this.folder}/clock` }) };
  }

  /** Sets the wall clock; at once, for whoever reads it meanwhile. */
  set(offset: string): void {
    writeFileSync(`${this.folder}/clock.new`, `${offset}\n`);
    renameSync(`${this.folder}/clock.new`, `${this.folder}/clock`);
  }
}

async function jumpWhileRunning(program: readonly string[], offset: string, ms: number): Promise<string> {
  await using world = new ClockHarness(program);
  const { service, url } = await world.serve({ LOG_LEVEL: "debug" });
  await watch(world, url, 1000);
  world.sandbox.resetCalls();
  world.set(offset);
  const asked = await watch(world, url, WATCH_MS);
  await judgeJump(service, ms);
  return figuresOf(world, asked);
}

async function jumpBetweenStarts(program: readonly string[], offset: string, ms: number): Promise<string> {
  await using world = new ClockHarness(program);
  const first = await world.serve();
  await watch(world, first.url, 500);
  first.service.signal("SIGTERM");
  await first.service.exited();
  world.sandbox.resetCalls();
  world.set(offset);
  const { service, url } = await world.serve({ LOG_LEVEL: "debug" });
  const asked = await watch(world, url, WATCH_MS);
  await judgeJump(service, ms);
  return figuresOf(world, asked);
}

function figuresOf(world: ClockHarness, asked: number): string {
  const calls = world.tokenCalls();
  must(calls <= MAX_CALLS_PER_APP * world.apps.length, `a storm: ${calls} upstream calls`);
  return `${asked} handed out, 0 dead, ${calls} upstream calls for ${world.apps.length} apps`;
}

/** Asks for each app's token for `ms` milliseconds, and has the sandbox say of each whether it is alive. */
async function watch(world: ClockHarness, url: string, ms: number): Promise<number> {
  let asked = 0;
  for (const end = performance.now() + ms; performance.now() < end; await Bun.sleep(ASK_EVERY_MS)) {
    for (const app of world.apps) {
      const got = await getToken(url, app);
      judgeToken(got, world.sandbox.accepts(got.value));
      asked++;
    }
  }
  return asked;
}

function judgeToken({ code, msg, expiresIn }: Got, isAlive: boolean): void {
  must(code === 0, `no token: ${code} ${msg}`);
  must(isAlive, "a dead token was handed out");
  must(expiresIn <= LIFE_SECONDS, `a life of ${expiresIn} s was stated, of ${LIFE_SECONDS} at most`);
}

/** The process must have seen another time of day than the machine's, or nothing was tested. */
async function judgeJump(service: Child, ms: number): Promise<void> {
  const isSeen = async () => {
    const last = [...service.stdout.matchAll(/"time":"([^"]+)"/g)].at(-1)?.[1] ?? "";
    return Math.abs(Date.parse(last) - Date.now() - ms) < 60_000;
  };
  must(await comesTrue(1000, isSeen), "the clock of the process did not jump");
}

const WRONG_STARTS = 50;
/** Long past every retention, long before it, and a little off. */
const WRONG_CLOCKS = ["+400d", "+3650d", "-400d", "+181d", "-1h", "+20000d"];

/** Starts in which the clock is wrong, and each of which adds an entry to the audit: none may be lost. */
async function wrongStarts(program: readonly string[]): Promise<Outcome> {
  await using world = new ClockHarness(program);
  const entriesOf = async () => {
    const verify = world.run(["audit", "verify", "--json"], world.variables);
    must((await verify.exited()) === 0, `the audit is not intact: ${verify.stdout}${verify.stderr}`);
    return (JSON.parse(verify.stdout) as { entries: number }).entries;
  };
  const add = async (name: string) => {
    const added = world.run(["clients", "add", name, "--environment", "dev"], world.variables);
    must((await added.exited()) === 0, `${name}: ${added.stderr}`);
  };
  for (let n = 0; n < 5; n++) await add(`before-${n}`);
  for (let start = 0; start < WRONG_STARTS; start++) {
    world.set(WRONG_CLOCKS[start % WRONG_CLOCKS.length] ?? "+0");
    const { service, url } = await world.serve({ ANONYMOUS: "on" });
    await getToken(url, world.apps[0] as FaultApp);
    service.signal(start % 2 === 0 ? "SIGTERM" : "SIGKILL");
    await service.exited();
    if (start % 10 === 0) await add(`wrong-${start}`);
  }
  world.set("+0");
  const entries = await entriesOf();
  must(entries === 5 + WRONG_STARTS / 10, `${entries} entries are left of ${5 + WRONG_STARTS / 10}`);
  return { figures: `${WRONG_STARTS} starts with a wrong clock, ${entries} entries, 0 lost` };
}

async function controls(program: readonly string[]): Promise<Outcome> {
  await using world = new ClockHarness(program);
  const { service, url } = await world.serve({ LOG_LEVEL: "debug" });
  await watch(world, url, 200);
  const found = [
    await mustFail("a clock that did not jump", () => judgeJump(service, 3 * HOUR_MS)),
    await mustFail("tokens that are dead", async () => {
      for (const { appId } of world.apps) world.sandbox.killTokens(appId);
      await watch(world, url, 200);
    }),
  ];
  return { figures: found.join("; ") };
}
