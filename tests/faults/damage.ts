import { createHash } from "node:crypto";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { ask } from "../support/process-harness.ts";
import type { Child } from "../support/child.ts";
import {
  type FaultCase,
  type FaultOptions,
  must,
  mustFail,
  type Outcome,
  randomFrom,
  Violation,
} from "./fault-case.ts";
import { appsOf, type FaultApp, FaultHarness, getToken, type Got } from "./fault-harness.ts";

const PER_CASE = 20;
const APPS = 6;
/** How far a stated life may be off, in seconds: rounding, and what the way takes. */
const SLACK_SECONDS = 3;
const DAMAGE_IN_LOG = /"event":"[a-z.]*(damaged|unreadable|healed)[a-z_]*"/;

/** One change to the bytes of a database file. */
interface Damage {
  readonly name: string;
  readonly apply: (bytes: Buffer) => Buffer;
}

type Ending = "refused" | "right" | "healed";

/** Damaged copies of one database: each is refused as it is, or what is served of it is right. */
export function damageCases({ damages, program }: FaultOptions): FaultCase[] {
  const cases: FaultCase[] = [{ name: "damage: controls", run: () => controls(program) }];
  for (let from = 0; from < damages; from += PER_CASE) {
    const count = Math.min(PER_CASE, damages - from);
    const name = `damage: database ${from + 1} to ${from + count}`;
    cases.push({ name, run: () => startDamaged(program, from, count) });
  }
  return cases;
}

/** A folder with a whole database in its one file, and what its tokens are. */
async function prepare(program: readonly string[]) {
  // Each start on a damaged copy may fetch anew; the tokens of the sound copy must outlive that at WeChat.
  const world = new FaultHarness(program, appsOf(APPS), { switches: { thirdFetchKillsOldest: false } });
  const { service, url } = await world.serve();
  const values = new Map<string, string>();
  for (const app of world.apps) values.set(app.appId, (await getToken(url, app)).value);
  const endsAt = performance.now() + 7_200_000;
  service.signal("SIGTERM");
  must((await service.exited()) === 0, "it does not stop in order");
  cpSync(`${world.folder}/data`, `${world.folder}/sound`, { recursive: true });
  return { world, values, endsAt, sound: readFileSync(world.databasePath) };
}

type Prepared = Awaited<ReturnType<typeof prepare>>;

async function startDamaged(program: readonly string[], from: number, count: number): Promise<Outcome> {
  const prepared = await prepare(program);
  await using _ = prepared.world;
  const endings: Record<Ending, number> = { refused: 0, right: 0, healed: 0 };
  const violations: string[] = [];
  for (let index = from; index < from + count; index++) {
    const damage = damageOf(index, prepared.sound);
    try {
      endings[await endingOf(prepared, damage)]++;
    } catch (error) {
      violations.push(`${index} (${damage.name}): ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  const { refused, right, healed } = endings;
  const figures = `${refused} refused and unchanged, ${right} served rightly, ${healed} healed and told`;
  if (violations.length > 0) throw new Violation(`${figures}; ${violations.join(" | ")}`);
  return { figures };
}

/** Every fifth damage cuts the end off; of the flips, three in four hit a byte that is used. */
function damageOf(index: number, sound: Buffer): Damage {
  const random = randomFrom(7919 * (index + 1));
  if (index % 5 === 0) {
    const length = Math.floor(random() * sound.length);
    return { name: `cut to ${length} bytes`, apply: (bytes) => bytes.subarray(0, length) };
  }
  const used = index % 5 === 1 ? [...sound.keys()] : [...sound.keys()].filter((at) => sound[at] !== 0);
  const at = used[Math.floor(random() * used.length)] ?? 0;
  const mask = 1 << Math.floor(random() * 8);
  return {
    name: `byte ${at} ^ ${mask}`,
    apply: (bytes) => {
      const flipped = Buffer.from(bytes);
      flipped.writeUInt8(flipped.readUInt8(at) ^ mask, at);
      return flipped;
    },
  };
}

async function endingOf(prepared: Prepared, damage: Damage): Promise<Ending> {
  const { world, sound } = prepared;
  const damaged = damage.apply(sound);
  rmSync(`${world.folder}/data`, { recursive: true });
  cpSync(`${world.folder}/sound`, `${world.folder}/data`, { recursive: true });
  writeFileSync(world.databasePath, damaged);
  const service = world.run(["serve"], { ...world.variables, LOG_LEVEL: "debug" });
  const url = await service.serviceUrl().catch(() => undefined);
  if (url === undefined) return judgeRefusal(service, damaged, readFileSync(world.databasePath));
  const got: Got[] = [];
  for (const app of world.apps) got.push(await getToken(url, app));
  const again = await getToken(url, world.apps[0] as FaultApp);
  must((await ask(url, "/livez")).status === 200, "it is not alive");
  service.signal("SIGTERM");
  const exitCode = await service.exited();
  judgeServed(prepared, [...got, again]);
  must(exitCode === 0, `it ended with ${exitCode}`);
  return DAMAGE_IN_LOG.test(service.stdout) ? "healed" : "right";
}

async function judgeRefusal(service: Child, damaged: Buffer, after: Buffer): Promise<Ending> {
  const exitCode = await service.exited();
  must(exitCode === 1, `it ended with ${exitCode}: ${service.stderr.slice(0, 300)}`);
  const lines = service.stderr.split("\n").filter(Boolean);
  must(
    lines.length === 1 && /^accesstoken: .+\(.+\)/.test(lines[0] ?? ""),
    `not one line: ${service.stderr}`,
  );
  must(digest(damaged) === digest(after), "the file was rewritten although the start was refused");
  return "refused";
}

/** Each value is one that WeChat accepts, of the very app, with the life that it has. */
function judgeServed({ world, values, endsAt }: Prepared, got: readonly Got[]): void {
  for (const [index, { code, msg, value, expiresIn }] of got.entries()) {
    const app = world.apps[index % world.apps.length] as FaultApp;
    must(code === 0, `${app.appId}: ${code} ${msg}`);
    must(world.sandbox.accepts(value), `${app.appId}: a wrong value is served`);
    const isOfOther = [...values].some(([appId, known]) => appId !== app.appId && known === value);
    must(!isOfOther, `${app.appId}: the value of another app is served`);
    const leftSeconds = values.get(app.appId) === value ? (endsAt - performance.now()) / 1000 : 7200;
    must(
      expiresIn <= leftSeconds + SLACK_SECONDS,
      `${app.appId}: a life of ${expiresIn} s is stated where ${Math.round(leftSeconds)} s are left`,
    );
  }
}

function digest(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The check meets a wrong value, a life that is too long, and a file that was rewritten. */
async function controls(program: readonly string[]): Promise<Outcome> {
  const prepared = await prepare(program);
  await using _ = prepared.world;
  const { world, values, sound } = prepared;
  const sane: Damage = { name: "none", apply: (bytes) => bytes };
  must((await endingOf(prepared, sane)) === "right", "a sound database is not served rightly");
  const got = world.apps.map(({ appId }) => {
    return { code: 0, msg: "", value: values.get(appId) ?? "", expiresIn: 7000 };
  });
  const dead: Damage = { name: "none, but the tokens are dead", apply: (bytes) => bytes };
  const found = [
    await mustFail("two values that are exchanged", () => judgeServed(prepared, got.toReversed())),
    await mustFail("too long a life", () =>
      judgeServed(
        prepared,
        got.map((each) => ({ ...each, expiresIn: 7300 })),
      ),
    ),
    await mustFail("a rewritten file", async () => {
      rmSync(`${world.folder}/data`, { recursive: true });
      cpSync(`${world.folder}/sound`, `${world.folder}/data`, { recursive: true });
      writeFileSync(world.databasePath, "no database".repeat(100));
      const service = world.run(["serve"], world.variables);
      await service.exited();
      await judgeRefusal(service, sound, readFileSync(world.databasePath));
    }),
  ];
  for (const { appId } of world.apps) world.sandbox.killTokens(appId);
  found.push(await mustFail("a value that WeChat refuses", () => endingOf(prepared, dead)));
  return { figures: found.join("; ") };
}
