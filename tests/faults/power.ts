import { Database } from "bun:sqlite";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
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

const IMAGES = 2000;
const PER_CASE = 500;
const CHANGES = 60;
/** What a disk writes whole: a sector, and a page. */
const TORN_BYTES = [512, 4096] as const;
const CALLS = "openat,pwrite64,write,fsync,fdatasync,ftruncate,unlink,link,rename,mkdir";

/** One thing that the service did to its data folder, in order; `ack` is an answer that it gave. */
type Step =
  | { readonly what: "create" | "unlink"; readonly path: string }
  | { readonly what: "link" | "rename"; readonly path: string; readonly to: string }
  | { readonly what: "write"; readonly path: string; readonly at: number; readonly bytes: Buffer }
  | { readonly what: "truncate"; readonly path: string; readonly size: number }
  | { readonly what: "sync"; readonly path: string }
  | { readonly what: "ack" };

/** The disk after power cuts at random moments of a first start and of what follows, as a journal of system calls has it. */
export function powerCases({ program }: FaultOptions): FaultCase[] {
  const cases: FaultCase[] = [{ name: "power: controls", run: () => unlessMissing(() => controls(program)) }];
  for (let from = 0; from < IMAGES; from += PER_CASE) {
    const name = `power: images ${from + 1} to ${from + PER_CASE}`;
    cases.push({ name, run: () => unlessMissing(() => replay(program, from)) });
  }
  return cases;
}

async function unlessMissing(run: () => Promise<Outcome>): Promise<Outcome> {
  if (!Bun.which("strace")) return { skipped: "strace is not installed (apt-get install strace)" };
  const tried = Bun.spawnSync(["strace", "-e", "trace=none", "true"], { stdout: "ignore", stderr: "ignore" });
  return tried.exitCode === 0 ? run() : { skipped: "strace may not trace here (ptrace is not permitted)" };
}

async function replay(program: readonly string[], from: number): Promise<Outcome> {
  const steps = await record(program);
  const sum = { torn: 0, pending: 0, young: 0 };
  for (let index = from; index < from + PER_CASE; index++) {
    const image = imageOf(steps, index, "synced");
    await judge(image, index);
    sum.torn += image.torn;
    sum.pending += image.pending;
    if (image.acknowledged === 0) sum.young++;
  }
  const { torn, pending, young } = sum;
  return {
    figures: `${PER_CASE} images of ${steps.length} steps, ${young} within the first start, ${pending} unsynced writes, ${torn} of them torn: all open, 0 of ${CHANGES} acknowledged changes lost`,
  };
}

/** Runs the program on an empty folder under strace: it makes a key, then serves, makes changes, and is killed. */
async function record(program: readonly string[]): Promise<Step[]> {
  const trace = ["strace", "-f", "-y", "-xx", "-s", "1000000", "-o", "trace", "-e", `trace=${CALLS}`];
  await using world = new FaultHarness([...trace, ...program], appsOf(2));
  const journal = () => readFileSync(join(world.folder, "trace"), "latin1");
  const created = world.run(["keys", "create", "--admin"], world.variables);
  must((await created.exited()) === 0, `no key: ${created.stderr}`);
  const first = journal();
  const { service, url } = await world.serve({ LOG_LEVEL: "debug" });
  const headers = { "content-type": "application/json", "x-api-key": created.stdout.trim() };
  for (let n = 0; n < CHANGES; n++) {
    const body = JSON.stringify({ client: `change-${n}`, environment: "dev", grants: [] });
    const { status } = await ask(url, "/v1/clients", {}, { method: "POST", headers, body });
    must(status === 201, `a change was answered with ${status}`);
  }
  const logged = () => service.stdout.split('"event":"request.handled"').length - 1;
  must(await comesTrue(5000, async () => logged() >= CHANGES), "the log does not have every answer");
  const pid = Number(journal().split(" ", 1)[0]);
  must(pid > 1, "the journal does not begin with the number of a process");
  process.kill(pid, "SIGKILL");
  await service.exited();
  const steps = parse(first + journal(), join(world.folder, "data"));
  const acks = steps.filter(({ what }) => what === "ack").length;
  must(acks === CHANGES, `${acks} answers are in the journal, of ${CHANGES}`);
  return steps;
}

/** The steps of a journal that concern `folder`, and the answers. */
function parse(text: string, folder: string): Step[] {
  const steps: Step[] = [];
  const begun = new Map<string, string>();
  const names = new Set<string>();
  const ends = new Map<string, number>();
  for (const raw of text.split("\n")) {
    const space = raw.indexOf(" ");
    const [pid, rest] = [raw.slice(0, space), raw.slice(space + 1).trimStart()];
    if (rest.endsWith("<unfinished ...>")) {
      begun.set(pid, rest.slice(0, -"<unfinished ...>".length));
      continue;
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest);
    const line = resumed ? (begun.get(pid) ?? "") + (resumed[1] ?? "") : rest;
    const call = /^(\w+)\((.*)\)\s+= (-?\d+)/.exec(line);
    if (!call || Number(call[3]) < 0) continue;
    const [, name = "", args = ""] = call;
    const texts = [...args.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map(([, hex = ""]) => bytesOf(hex));
    const opened = bytesOf(/^\d+<((?:\\x[0-9a-f]{2})*)/.exec(args)?.[1] ?? "").toString();
    const paths = texts.map((bytes) => bytes.toString());
    const numbers = args.split(", ").map(Number);
    if (name === "write" && /^1</.test(args)) {
      for (const log of paths[0]?.split("\n") ?? []) {
        if (log.includes('"request.handled"') && log.includes('"POST"') && log.includes('"code":0')) {
          steps.push({ what: "ack" });
        }
      }
      continue;
    }
    const path =
      name === "openat" || name === "mkdir" || name.endsWith("link") || name === "rename" ? paths[0] : opened;
    if (path === undefined || !path.startsWith(folder) || path.endsWith("-shm")) continue;
    const to = paths[1] ?? "";
    if (name === "openat" && args.includes("O_CREAT") && !names.has(path)) {
      names.add(path);
      ends.set(path, 0);
      steps.push({ what: "create", path });
    }
    if (name === "unlink" && names.delete(path)) steps.push({ what: "unlink", path });
    if (name === "link" || name === "rename") {
      names.add(to);
      if (name === "rename") names.delete(path);
      steps.push({ what: name, path, to });
    }
    if (name === "ftruncate") steps.push({ what: "truncate", path, size: numbers.at(-1) ?? 0 });
    if (name === "fsync" || name === "fdatasync") steps.push({ what: "sync", path });
    if (name === "pwrite64" || name === "write") {
      const bytes = texts[0] ?? Buffer.alloc(0);
      const at = name === "write" ? (ends.get(path) ?? 0) : (numbers.at(-1) ?? 0);
      ends.set(path, Math.max(ends.get(path) ?? 0, at + bytes.length));
      steps.push({ what: "write", path, at, bytes });
    }
  }
  return steps;
}

function bytesOf(hex: string): Buffer {
  return Buffer.from(hex.replaceAll("\\x", ""), "hex");
}

/** What is on the disk after a power cut. */
interface Image {
  readonly files: ReadonlyMap<string, Buffer>;
  /** How many changes had been answered. */
  readonly acknowledged: number;
  readonly pending: number;
  readonly torn: number;
}

type DataStep = Step & { what: "write" | "truncate" };

/** A file without its name: what is sure to be in it, and what was written since. */
class Inode {
  pending: DataStep[] = [];
  #bytes = Buffer.alloc(0);
  #size = 0;

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#size);
  }

  apply(step: DataStep): void {
    const size = step.what === "write" ? Math.max(this.#size, step.at + step.bytes.length) : step.size;
    if (size > this.#bytes.length) this.#bytes = Buffer.concat([this.#bytes], size * 2);
    if (size < this.#size) this.#bytes.fill(0, size);
    this.#size = size;
    if (step.what === "write") step.bytes.copy(this.#bytes, step.at);
  }

  sync(): void {
    for (const step of this.pending.splice(0)) this.apply(step);
  }
}

/**
 * The image after a cut at a random step. What was synced is there; of what was not, each write may be there, be missing,
 * or be there in some of its sectors, and names change in order, as far as the journal of the file system had come. With
 * `ignored` syncs nothing is ever sure to be there.
 */
function imageOf(steps: readonly Step[], index: number, syncs: "synced" | "ignored"): Image {
  const random = randomFrom(15_485_863 * (index + 1));
  const cut = Math.floor(random() * (steps.length + 1));
  const unit = TORN_BYTES[index % TORN_BYTES.length] ?? 512;
  const now = new Map<string, Inode>();
  const durable = new Map<string, Inode>();
  let renames: (() => void)[] = [];
  let acknowledged = 0;
  for (const step of steps.slice(0, cut)) {
    if (step.what === "ack") acknowledged++;
    else if (step.what === "create") {
      const inode = new Inode();
      now.set(step.path, inode);
      renames.push(() => durable.set(step.path, inode));
    } else if (step.what === "unlink") {
      now.delete(step.path);
      renames.push(() => durable.delete(step.path));
    } else if (step.what === "link" || step.what === "rename") {
      const inode = now.get(step.path);
      if (!inode) continue;
      now.set(step.to, inode);
      renames.push(() => durable.set(step.to, inode));
      if (step.what === "link") continue;
      now.delete(step.path);
      renames.push(() => durable.delete(step.path));
    } else if (step.what === "write" || step.what === "truncate") now.get(step.path)?.pending.push(step);
    else if (syncs === "synced") {
      const inode = now.get(step.path);
      if (inode) inode.sync();
      else if (!step.path.includes(".")) {
        for (const rename of renames) rename();
        renames = [];
      }
    }
  }
  for (const rename of renames.slice(0, Math.floor(random() * (renames.length + 1)))) rename();
  const counts = { pending: 0, torn: 0 };
  const files = new Map<string, Buffer>();
  for (const [path, inode] of durable) {
    for (const step of inode.pending) {
      counts.pending++;
      const chance = random();
      if (chance < 1 / 3) continue;
      if (chance < 2 / 3 || step.what === "truncate") {
        inode.apply(step);
        continue;
      }
      counts.torn++;
      for (let from = 0; from < step.bytes.length; from += unit) {
        if (random() < 0.5) continue;
        inode.apply({ ...step, at: step.at + from, bytes: step.bytes.subarray(from, from + unit) });
      }
    }
    files.set(path, inode.bytes);
  }
  return { files, acknowledged, ...counts };
}

/** It opens, and has every client whose creation had been answered. */
async function judge({ files, acknowledged }: Image, index: number): Promise<void> {
  // Memory: what is judged is whether it opens, not the disk below.
  const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "accesstoken-power-"));
  try {
    const data = join(folder, "data");
    for (const [path, bytes] of files) {
      mkdirSync(data, { recursive: true, mode: 0o700 });
      writeFileSync(join(data, basename(path)), bytes, { mode: 0o600 });
    }
    const path = join(data, "accesstoken.db");
    const store = await openSqliteStore({
      path,
      masterKey: undefined,
      masterKeyFile: join(data, "master.key"),
      clock: systemClock,
      onKeyCreated: () => undefined,
    }).catch((error: unknown) => error);
    must(
      !(store instanceof Error),
      `image ${index} does not open: ${store instanceof Error ? store.message : ""} ${[...files].map(([name, bytes]) => `${basename(dirname(name))}/${basename(name)} ${bytes.length}`).join(", ")}`,
    );
    const { isIntact } = await (store as Awaited<ReturnType<typeof openSqliteStore>>).audit.verify();
    (store as Awaited<ReturnType<typeof openSqliteStore>>).close();
    must(isIntact, `image ${index}: the audit is not intact`);
    using database = new Database(path, { readonly: true });
    const row = database
      .query<{ n: number }, []>("SELECT count(*) AS n FROM clients WHERE name LIKE 'change-%'")
      .get();
    must(
      (row?.n ?? 0) >= acknowledged,
      `image ${index}: ${row?.n} changes are left of ${acknowledged} acknowledged`,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A disk that ignores syncs loses what was acknowledged, or does not open. */
async function controls(program: readonly string[]): Promise<Outcome> {
  const steps = await record(program);
  let lost = 0;
  let first = "";
  for (let index = 0; index < 100; index++) {
    const image = imageOf(steps, index, "ignored");
    if (image.acknowledged === 0) continue;
    try {
      await judge(image, index);
    } catch (error) {
      lost++;
      first ||= error instanceof Error ? error.message : String(error);
    }
  }
  await mustFail("a disk that ignores syncs", () => must(lost === 0, first));
  return { figures: `a disk that ignores syncs → ${lost} of 100 images lose or do not open: ${first}` };
}
