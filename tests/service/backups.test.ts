import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, statSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Harness } from "../support/harness.ts";
import { ask, binary, ProcessHarness } from "../support/process-harness.ts";

const NAME = /^accesstoken-\d{8}T\d{6}Z-[0-9a-f]{8}\.tar\.gz$/;

test("a service with BACKUP_DIR has backed itself up a moment after its start, and says so everywhere", async () => {
  await using harness = new ProcessHarness(binary());
  const { service, url } = await harness.serve({
    BACKUP_DIR: "backups",
    BACKUP_EVERY: "12h",
    BACKUP_KEEP: "2",
  });
  const [, file = ""] = await service.find(/"event":"backup\.made","file":"([^"]+)"/);
  const folder = join(harness.folder, "backups");
  expect([readdirSync(folder), NAME.test(file)]).toEqual([[file], true]);
  const { size, mode } = statSync(join(folder, file));
  expect([mode & 0o777, statSync(folder).mode & 0o777]).toEqual([0o600, 0o700]);
  const now = Date.now();
  await Harness.until(async () => (await ask(url, "/readyz")).data["backup"] !== undefined);
  const { status, data } = await ask(url, "/readyz");
  expect([status, data["backup"]]).toEqual([200, { at: expect.any(Number), age: expect.any(Number) }]);
  const metrics = await (await fetch(`${url}/metrics`)).text();
  expect(metrics).toContain(`accesstoken_backup_bytes ${size}\n`);
  const [, at = ""] = /^accesstoken_backup_last_success_timestamp_seconds (\S+)/m.exec(metrics) ?? [];
  expect(Math.abs(Number(at) * 1000 - now)).toBeLessThan(3_600_000);
  service.signal("SIGTERM");
  expect(await service.exited()).toBe(0);
});

test("of several workers one makes the backup, and the audit names the service", async () => {
  await using harness = new ProcessHarness(binary());
  const { service, url } = await harness.serve({ BACKUP_DIR: "backups" }, ["--workers", "2"]);
  await service.find(/"event":"backup\.made"/);
  const files = readdirSync(join(harness.folder, "backups"));
  expect(files).toEqual([expect.stringMatching(NAME)]);
  await using list = harness.run(["audit", "list", "--action", "backup.created", "--json"]);
  expect(await list.exited()).toBe(0);
  const { entries } = JSON.parse(list.stdout) as { entries: object[] };
  expect(entries).toMatchObject([{ client: "(service)", detail: { file: files[0] } }]);
  expect((await ask(url, "/livez")).status).toBe(200);
  service.signal("SIGTERM");
  expect(await service.exited()).toBe(0);
});

test("a folder that can't be made is said in the log, and the service goes on", async () => {
  await using harness = new ProcessHarness(binary());
  writeFileSync(join(harness.folder, "taken"), "");
  const { service, url } = await harness.serve({ BACKUP_DIR: "taken/backups" });
  const [line] = await service.find(/.*"event":"backup\.failed".*/);
  expect(line).toContain("BACKUP_DIR");
  expect((await ask(url, "/readyz")).status).toBe(200);
  service.signal("SIGTERM");
  expect(await service.exited()).toBe(0);
});

test("a service that is stopped in the midst of a backup leaves nothing of it", async () => {
  await using harness = new ProcessHarness(binary());
  const first = await harness.serve({ BACKUP_DIR: "backups" });
  await first.service.find(/"event":"backup\.made"/);
  first.service.signal("SIGTERM");
  await first.service.exited();
  const folder = join(harness.folder, "other");
  mkdirSync(folder);
  {
    using database = new Database(join(harness.folder, "data/accesstoken.db"));
    database.run("DELETE FROM milestones");
    database.run("DELETE FROM due_work WHERE name = 'backup'");
  }
  const begun = Promise.withResolvers<void>();
  const files = watch(folder, () => begun.resolve());
  const { service } = await harness.serve({ BACKUP_DIR: "other" });
  await begun.promise;
  files.close();
  service.signal("SIGTERM");
  expect(await service.exited()).toBe(0);
  expect(readdirSync(folder).filter((name) => !NAME.test(name))).toEqual([]);
});
