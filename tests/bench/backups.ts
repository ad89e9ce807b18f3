import { mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { Database } from "bun:sqlite";
import { join } from "node:path";
import { systemClock } from "../../src/clock.ts";
import { Secret } from "../../src/secret.ts";
import { SERVICE } from "../../src/audit/audit-entry.ts";
import { parseMasterKey } from "../../src/store/key-file.ts";
import { SealingKey } from "../../src/store/sealing-key.ts";
import { copyBeforeMigration } from "../../src/store/sqlite/copy-before-migration.ts";
import { NEWEST_MIGRATION } from "../../src/store/sqlite/open-database.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import type { Store } from "../../src/store/store.ts";
import { binary } from "../support/process-harness.ts";
import type { Effort } from "./effort.ts";
import { type Figure, median } from "./figures.ts";
import { SeededFolder } from "./seeded-folder.ts";

const FULL_BYTES = 2_000_000_000;
const QUICK_BYTES = 200_000_000;
const PUSH_BYTES = 500_000;
/** Between two writes: a service that is busy, and not one that does nothing else. Milliseconds. */
const PAUSE_MS = 5;
const PAIRS = 3;

/**
 * What writes wait while another process backs a large database up, in turn with as many without; and what that takes, and a
 * start's copy before it migrates such a database.
 */
export async function backups({ pairs, seconds }: Effort): Promise<Figure[]> {
  const isQuick = seconds < 2;
  using cleanup = new DisposableStack();
  const folder = await SeededFolder.make(1, {});
  cleanup.defer(() => folder.remove());
  const data = join(folder.path, "data");
  const path = join(data, "accesstoken.db");
  const masterKeyFile = join(data, "master.key");
  inflate(path, masterKeyFile, isQuick ? QUICK_BYTES : FULL_BYTES);
  const gigabytes = statSync(path).size / 1e9;
  const store = await openSqliteStore({
    ...{ path, masterKeyFile, masterKey: undefined, clock: systemClock },
    onKeyCreated: () => undefined,
  });
  cleanup.defer(() => store.close());
  const env = { ENV_FILE: "", DATABASE_URL: `file:${path}`, MASTER_KEY_FILE: masterKeyFile };
  const out = join(folder.path, "out");
  mkdirSync(out);
  const found = {
    ratios: [] as number[],
    without: [] as number[],
    during: [] as number[],
    took: [] as number[],
    copied: [] as number[],
  };
  await writesUntil(store, Bun.sleep(1000));
  for (let pair = 0; pair < Math.min(pairs, PAIRS); pair++) {
    const startedAt = performance.now();
    await using child = Bun.spawn([...binary(), "backup", "--out", `out/${pair}.tar.gz`], {
      ...{ cwd: folder.path, env, stdio: ["ignore", "ignore", "inherit"] },
    });
    const during = await writesUntil(store, child.exited);
    if ((await child.exited) !== 0) throw new Error("no backup was made");
    const tookMs = performance.now() - startedAt;
    const without = await writesUntil(store, Bun.sleep(tookMs));
    found.took.push(tookMs / 1000);
    found.during.push(p99(during));
    found.without.push(p99(without));
    found.ratios.push(p99(during) / p99(without));
    rmSync(join(out, `${pair}.tar.gz`));
    const copyingAt = performance.now();
    rmSync(copyBeforeMigration(path, NEWEST_MIGRATION, systemClock.now()));
    found.copied.push((performance.now() - copyingAt) / 1000);
  }
  const of = `${gigabytes.toFixed(1)} GB`;
  return [
    {
      name: `backup of ${of}: p99 of writes / without`,
      unit: "×",
      values: found.ratios,
      target: { atMost: 3 },
    },
    { name: `backup of ${of}: p99 of writes`, unit: "ms", values: found.during },
    { name: `backup of ${of}: p99 of writes without`, unit: "ms", values: found.without },
    { name: `backup of ${of}: time`, unit: "s", values: found.took },
    { name: `copy of ${of} before a migration: time`, unit: "s", values: found.copied },
  ];
}

/** How long each audited change takes until `end`, one after the other, in milliseconds. */
async function writesUntil(store: Store, end: Promise<unknown>): Promise<number[]> {
  const done = new AbortController();
  void end.finally(() => done.abort());
  const took: number[] = [];
  while (!done.signal.aborted) {
    const startedAt = performance.now();
    await store.audit.append({
      ...SERVICE,
      ...{
        action: "setting.changed",
        app: "",
        outcome: "ok",
        tokenDigest: "",
        detail: { bench: took.length },
      },
    });
    took.push(performance.now() - startedAt);
    await Bun.sleep(PAUSE_MS);
  }
  return took;
}

function p99(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length * 0.99)] ?? median(values);
}

/** Fills a database up to so many bytes with pushes that are sealed as the service does. */
function inflate(path: string, masterKeyFile: string, bytes: number): void {
  const key = parseMasterKey(new Secret(readFileSync(masterKeyFile, "utf8")));
  if (!key) throw new Error("the master key can't be read");
  const sealing = new SealingKey(key);
  const body = new Secret("p".repeat(PUSH_BYTES));
  using database = new Database(path);
  database.run("PRAGMA synchronous = OFF");
  const insert = database.query(
    "INSERT INTO pushes (app, dedupe_key, received_at, type, event, request, expires_at) VALUES ('wx0', ?, 1, 'text', '', ?, 9000000000000)",
  );
  const count = Math.ceil(bytes / (PUSH_BYTES * 1.34));
  for (let n = 0; n < count; n++)
    insert.run(`n${n}`, sealing.seal(body, { table: "pushes", row: `wx0:n${n}`, column: "request" }));
  database.run("PRAGMA wal_checkpoint(TRUNCATE)");
}
