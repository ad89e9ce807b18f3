import { SQL } from "bun";
import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { commandLineActor } from "../../src/audit/audit-entry.ts";
import { systemClock } from "../../src/clock.ts";
import { isWhole, verifyBackup } from "../../src/store/backup-drill.ts";
import { createBackup } from "../../src/store/backup.ts";
import { copyStore, type DatabasePlace } from "../../src/store/copy-store.ts";
import { Child } from "../support/child.ts";
import { PostgresServer, postgresTest } from "../support/postgres-server.ts";
import { binary } from "../support/process-harness.ts";
import { RotationFolder } from "../support/rotation-folder.ts";

/** So many of each, spread over a whole run; `BACKUP_KILLS=100`, as for every night, is 300 in all. */
const KILLS = Number(process.env["BACKUP_KILLS"] ?? 12);
const TOKENS = 400;
const KILLED = 137;
/** Far more than it takes; a slow machine must not fail. */
const DEADLINE_MS = 60_000 + 10_000 * KILLS;

/** So long after its start, in milliseconds, or once something is true. */
type Moment = number | (() => boolean);

/** Resolves at that moment of a process, or when it has ended. */
async function reached(moment: Moment, ended: Promise<unknown>): Promise<void> {
  if (typeof moment === "number") return Bun.sleep(moment);
  const isOver = ended.then(
    () => true,
    () => true,
  );
  while (!moment()) if ((await Promise.race([isOver, Bun.sleep(1)])) === true) return;
}

/** Whether there is what a command works on in a folder. */
function hasTempFolder(folder: string): boolean {
  return readdirSync(folder).some((name) => name.startsWith(".accesstoken-"));
}

/** A database with three apps, a backup of it, and the program to work on them. */
async function setup() {
  const files = new RotationFolder(systemClock);
  await files.fill(TOKENS);
  const out = join(files.folder, "out");
  const archive = join(files.folder, "backup.tar.gz");
  mkdirSync(out);
  const key = { masterKey: undefined, masterKeyFile: files.keyPath, clock: systemClock };
  await createBackup({ from: { path: files.path }, path: archive, ...key });
  const env = { ENV_FILE: "", DATABASE_URL: `file:${files.path}`, MASTER_KEY_FILE: files.keyPath };
  return {
    ...{ files, out, archive, key },
    data: join(files.folder, "data"),
    verify: async (path: string) => isWhole(await verifyBackup({ archive: path, ...key })),
    /** Runs a command, and kills it at a moment. Resolves with its exit code, and how long it took. */
    run: async (args: readonly string[], moment?: Moment, more: Record<string, string> = {}) => {
      const startedAt = performance.now();
      await using child = new Child([...binary(), ...args], { cwd: files.folder, env: { ...env, ...more } });
      const ended = child.exited();
      if (moment !== undefined) {
        await reached(moment, ended);
        child.signal("SIGKILL");
      }
      const code = await ended;
      return { code, tookMs: performance.now() - startedAt, told: child.stderr };
    },
    /** How many apps the database has; it must be whole. */
    apps: async () => {
      const store = await files.open();
      const { faults, isAuditIntact, tokens } = await files.contents(store, TOKENS);
      const { length } = await store.apps.list();
      files.close();
      expect({ faults, isAuditIntact }).toEqual({ faults: [], isAuditIntact: true });
      // Those of apps that are gone are gone with them; and a restore drops all.
      expect(new Set(tokens.slice(3).map((token) => token === undefined)).size).toBe(1);
      return length;
    },
    removeApps: async () => {
      await (await files.open()).apps.replaceAll([]);
      files.close();
    },
    [Symbol.dispose]: () => files[Symbol.dispose](),
  };
}

test(
  "P3: a backup that is killed at any moment leaves a whole file or none, and the next one takes away what is left",
  async () => {
    using it = await setup();
    const whole = await it.run(["backup", "--out", "out/first.tar.gz"]);
    expect(whole).toMatchObject({ code: 0, told: "" });
    // The last ones as soon as there is something to leave: until one of them has been in time.
    for (let n = 0; n < KILLS || !hasTempFolder(it.out); n++) {
      const path = `out/${n}.tar.gz`;
      const moment = n < KILLS ? ((n + 0.5) / KILLS) * whole.tookMs : () => hasTempFolder(it.out);
      const { code } = await it.run(["backup", "--out", path], moment);
      expect([0, KILLED]).toContain(code);
      const isThere = readdirSync(it.out).includes(`${n}.tar.gz`);
      if (isThere) expect(await it.verify(join(it.files.folder, path)), path).toBe(true);
      expect(await it.apps()).toBe(3);
    }
    expect((await it.run(["backup", "--out", "out/last.tar.gz"])).code).toBe(0);
    expect(readdirSync(it.out).filter((name) => !/^\w+\.tar\.gz$/.test(name))).toEqual([]);
  },
  DEADLINE_MS,
);

test(
  "P3: a restore that is killed at any moment leaves the old database or the new one, and the next one completes it",
  async () => {
    using it = await setup();
    const restore = ["restore", "backup.tar.gz", "--replace"];
    await it.removeApps();
    const whole = await it.run(restore);
    expect(whole).toMatchObject({ code: 0, told: "" });
    const endings = { old: 0, new: 0 };
    for (let n = 0; n < KILLS || endings.old === 0 || endings.new === 0; n++) {
      if ((await it.apps()) !== 0) await it.removeApps();
      const old = statSync(it.files.path).ino;
      const swapped = () => statSync(it.files.path).ino !== old;
      const inTime = endings.old === 0 ? () => hasTempFolder(it.data) : swapped;
      const moment = n < KILLS ? ((n + 0.5) / KILLS) * whole.tookMs : inTime;
      const { code, told } = await it.run(restore, moment);
      expect([0, KILLED], told).toContain(code);
      const apps = await it.apps();
      expect([0, 3]).toContain(apps);
      endings[apps === 0 ? "old" : "new"]++;
    }
    expect((await it.run(restore)).code).toBe(0);
    expect(await it.apps()).toBe(3);
    const own = statSync(it.files.path).ino;
    const names = readdirSync(it.data).filter((name) => name !== "accesstoken.db");
    for (const name of names) {
      expect(name).toMatch(/^(master\.key|accesstoken\.db\.before-restore-\d{8}T\d{6}Z(-\d+)?)$/);
      expect(statSync(join(it.data, name)).ino).not.toBe(own);
    }
  },
  DEADLINE_MS,
);

postgresTest(
  "P3: a restore on PostgreSQL that is killed at any moment leaves the old database or the new one, and keeps what a whole one replaces",
  async () => {
    using it = await setup();
    const server = await PostgresServer.shared();
    const url = await server.createDatabase();
    const postgres: DatabasePlace = { address: { url, password: undefined } };
    await copyStore({
      from: { path: it.files.path },
      to: postgres,
      ...it.key,
      actor: commandLineActor("root"),
    });
    await using client = new SQL({ url, max: 1 });
    const count = async (text: string) => Number((await client.unsafe(text).values())[0]?.[0]);
    const restore = (moment?: Moment) =>
      it.run(["restore", "backup.tar.gz", "--replace"], moment, { DATABASE_URL: url, TMPDIR: it.out });
    const whole = await restore();
    expect(whole).toMatchObject({ code: 0, told: "" });
    const endings = { old: 0, new: 1 };
    for (let n = 0; n < KILLS || endings.old === 0; n++) {
      await client.unsafe("DELETE FROM apps");
      const inTime = () => hasTempFolder(it.out);
      const { code, told } = await restore(n < KILLS ? ((n + 0.5) / KILLS) * whole.tookMs : inTime);
      expect([0, KILLED], told).toContain(code);
      // Which tries the sealed texts and the audit of all that is there, and waits for the server to undo what was killed.
      const path = join(it.files.folder, `${n}.tar.gz`);
      await createBackup({ from: postgres, path, ...it.key });
      expect(await it.verify(path)).toBe(true);
      rmSync(path);
      const apps = await count("SELECT count(*) FROM apps");
      expect(code === 0 ? [3] : [0, 3]).toContain(apps);
      endings[apps === 0 ? "old" : "new"]++;
      const kept = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'before\\_restore\\_%'";
      expect(await count(kept)).toBe(endings.new);
    }
    const schemas = (await client`SELECT table_schema FROM information_schema.tables
      WHERE table_schema LIKE 'before\\_restore\\_%' AND table_name = 'keyring'`.values()) as [string][];
    expect(schemas).toHaveLength(endings.new);
    for (const [schema] of schemas) expect(await count(`SELECT count(*) FROM ${schema}.keyring`)).toBe(1);
  },
  DEADLINE_MS,
);

test(
  "a service that is started during a restore runs on the restored database, or the restore is refused",
  async () => {
    using it = await setup();
    const env = {
      ...{ ENV_FILE: "", DATABASE_URL: `file:${it.files.path}`, MASTER_KEY_FILE: it.files.keyPath },
      PORT: "0",
    };
    const outcomes = new Set<number>();
    let old = 0;
    const swapped = () => statSync(it.files.path).ino !== old;
    for (const moment of [0, 100, 200, 300, () => hasTempFolder(it.data), swapped]) {
      await it.removeApps();
      old = statSync(it.files.path).ino;
      const restoring = it.run(["restore", "backup.tar.gz", "--replace"]);
      await reached(moment, restoring);
      await using service = new Child([...binary(), "serve"], { cwd: it.files.folder, env });
      const started = await service.serviceUrl().then(
        (url) => url,
        () => undefined,
      );
      const { code } = await restoring;
      outcomes.add(code);
      if (started !== undefined) {
        expect((await fetch(`${started}/readyz`)).status).toBe(200);
        service.signal("SIGTERM");
      }
      await service.exited();
      expect(service.stdout).not.toContain("database.lost");
      // A service makes its apps those of its environment, of which there are none: what else there is tells.
      const store = await it.files.open();
      const restored = await store.audit.list({ action: "backup.restored" }, { limit: 100 });
      expect((await store.audit.verify()).isIntact).toBe(true);
      it.files.close();
      expect(restored.length > 0 || code !== 0).toBe(true);
    }
    for (const code of outcomes) expect([0, 3]).toContain(code);
  },
  DEADLINE_MS,
);
