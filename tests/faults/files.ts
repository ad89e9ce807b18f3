import { Database } from "bun:sqlite";
import { copyFileSync, cpSync, existsSync, mkdirSync, renameSync, rmSync, unlinkSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Child } from "../support/child.ts";
import { ask } from "../support/process-harness.ts";
import {
  comesTrue,
  type FaultCase,
  type FaultOptions,
  must,
  mustFail,
  type Outcome,
  randomFrom,
} from "./fault-case.ts";
import { appsOf, FaultHarness } from "./fault-harness.ts";

const SWAPS = 100;
const PER_CASE = 20;
const CHANGES_BEFORE = 4;
const CHANGES_AFTER = 8;
/** Readiness looks once a second. */
const TOLD_MS = 1500;

/** What somebody does to the files in `folder` while the service runs. */
const KINDS: readonly { readonly name: string; readonly swap: (folder: string) => void }[] = [
  { name: "database deleted", swap: (folder) => unlinkSync(`${folder}/accesstoken.db`) },
  { name: "database replaced by a copy", swap: (folder) => replace(`${folder}/accesstoken.db`) },
  { name: "log deleted", swap: (folder) => unlinkSync(`${folder}/accesstoken.db-wal`) },
  { name: "log replaced by a copy", swap: (folder) => replace(`${folder}/accesstoken.db-wal`) },
  {
    name: "everything deleted",
    swap: (folder) => ["", "-wal", "-shm"].forEach((end) => unlinkSync(`${folder}/accesstoken.db${end}`)),
  },
  {
    name: "a backup put in its place",
    swap: (folder) => {
      ["-wal", "-shm"].forEach((end) => unlinkSync(`${folder}/accesstoken.db${end}`));
      copyFileSync(`${folder}/../sound/accesstoken.db`, `${folder}/backup.db`);
      renameSync(`${folder}/backup.db`, `${folder}/accesstoken.db`);
    },
  },
  {
    name: "folder moved away",
    swap: (folder) => {
      renameSync(folder, `${folder}.away`);
      mkdirSync(folder);
    },
  },
];

function replace(path: string): void {
  copyFileSync(path, `${path}.copy`);
  renameSync(`${path}.copy`, path);
}

/** A change that was sent: the client's name, and whether it was acknowledged. */
interface Change {
  readonly client: string;
  readonly isAcknowledged: boolean;
}

/** Database files that are swapped under a running service. */
export function fileCases({ program }: FaultOptions): FaultCase[] {
  const cases: FaultCase[] = [{ name: "files: controls", run: () => controls(program) }];
  for (let from = 0; from < SWAPS; from += PER_CASE) {
    const name = `files: swaps ${from + 1} to ${from + PER_CASE}`;
    cases.push({ name, run: () => swapAll(program, from) });
  }
  return cases;
}

async function swapAll(program: readonly string[], from: number): Promise<Outcome> {
  await using world = await prepare(program);
  const sum = { refused: 0, found: 0, toldMs: 0 };
  for (let index = from; index < from + PER_CASE; index++) {
    const { refused, found, toldMs } = await swapOnce(world, index);
    sum.refused += refused;
    sum.found += found;
    sum.toldMs = Math.max(sum.toldMs, toldMs);
  }
  const { refused, found, toldMs } = sum;
  return {
    figures: `${PER_CASE} swaps, then ${refused} changes refused, ${found} acknowledged and found, 0 lost silently; told within ${Math.round(toldMs)} ms`,
  };
}

class FilesHarness extends FaultHarness {
  key = "";

  get data(): string {
    return `${this.folder}/data`;
  }

  async create(url: string, client: string): Promise<Change> {
    const body = JSON.stringify({ client, environment: "dev", grants: [] });
    const headers = { "content-type": "application/json", "x-api-key": this.key };
    const { status } = await ask(url, "/v1/clients", {}, { method: "POST", headers, body });
    return { client, isAcknowledged: status === 201 || status === 200 };
  }

  /** The clients that whoever opens the database at its path finds. */
  found(): Set<string> {
    rmSync(`${this.folder}/found`, { recursive: true, force: true });
    cpSync(this.data, `${this.folder}/found`, { recursive: true });
    if (!existsSync(`${this.folder}/found/accesstoken.db`)) return new Set();
    using database = new Database(`${this.folder}/found/accesstoken.db`);
    const rows = database.query<{ name: string }, []>("SELECT name FROM clients").all();
    return new Set(rows.map(({ name }) => name));
  }
}

/** A folder with a sound database and an administrator's key for it. */
async function prepare(program: readonly string[]): Promise<FilesHarness> {
  const world = new FilesHarness(program, appsOf(1));
  const created = world.run(["keys", "create", "--admin"], world.variables);
  must((await created.exited()) === 0, `no key: ${created.stderr}`);
  world.key = created.stdout.trim();
  cpSync(world.data, `${world.folder}/sound`, { recursive: true });
  return world;
}

async function swapOnce(world: FilesHarness, index: number) {
  const random = randomFrom(104_729 * (index + 1));
  const { name, swap } = KINDS[index % KINDS.length] as (typeof KINDS)[number];
  for (const folder of [world.data, `${world.data}.away`]) rmSync(folder, { recursive: true, force: true });
  cpSync(`${world.folder}/sound`, world.data, { recursive: true });
  const { service, url } = await world.serve();
  for (let n = 0; n < CHANGES_BEFORE; n++) {
    must(
      (await world.create(url, `before-${n}`)).isAcknowledged,
      "a change is refused before anything has happened",
    );
  }
  // Changes are under way when it happens; those may be answered either way.
  const during = Promise.all([0, 1, 2].map((n) => world.create(url, `during-${n}`)));
  const at = performance.now() + random() * 5;
  while (performance.now() < at) await nextTurn();
  swap(world.data);
  const swappedAt = performance.now();
  const after: Change[] = [];
  for (let n = 0; n < CHANGES_AFTER; n++) after.push(await world.create(url, `after-${n}`));
  await during;
  const isTold = async () => (await ask(url, "/readyz")).status === 503;
  must(await comesTrue(TOLD_MS, isTold), `${name}: /readyz does not say so`);
  const toldMs = performance.now() - swappedAt;
  await end(service, index % 2 === 0 ? "SIGTERM" : "SIGKILL");
  must(service.stdout.includes('"event":"database.lost"'), `${name}: the log does not say so`);
  const found = judge(name, after, world.found());
  return { refused: after.length - found, found, toldMs };
}

async function end(service: Child, signal: NodeJS.Signals): Promise<void> {
  service.signal(signal);
  await service.exited();
}

/** How many changes were acknowledged, each of which must be found. */
function judge(name: string, changes: readonly Change[], found: ReadonlySet<string>): number {
  const acknowledged = changes.filter(({ isAcknowledged }) => isAcknowledged);
  const lost = acknowledged.filter(({ client }) => !found.has(client)).map(({ client }) => client);
  must(lost.length === 0, `${name}: acknowledged and lost: ${lost.join(", ")}`);
  return acknowledged.length;
}

/** Files that nobody touches lose nothing, and a change that was taken back is missed. */
async function controls(program: readonly string[]): Promise<Outcome> {
  await using world = await prepare(program);
  const { service, url } = await world.serve();
  const changes: Change[] = [];
  for (let n = 0; n < CHANGES_AFTER; n++) changes.push(await world.create(url, `control-${n}`));
  await end(service, "SIGKILL");
  must(
    judge("nothing", changes, world.found()) === CHANGES_AFTER,
    "a change is refused although all is sound",
  );
  rmSync(world.data, { recursive: true });
  cpSync(`${world.folder}/sound`, world.data, { recursive: true });
  const figures = await mustFail("a backup put back after the changes", () => {
    judge("control", changes, world.found());
  });
  return { figures };
}
