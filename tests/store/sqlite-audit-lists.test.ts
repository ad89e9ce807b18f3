import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { allEntries, entryOf, usageRow } from "../support/audit-entries.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { StoreFolder } from "../support/store-folder.ts";

const MINUTE = 60_000;

async function setup() {
  const clock = new ManualClock();
  const files = new StoreFolder(clock);
  const { audit } = await files.open();
  const database = new Database(files.path, { readwrite: true });
  const dispose = () => {
    database.close();
    files[Symbol.dispose]();
  };
  return { clock, audit, database, [Symbol.dispose]: dispose };
}

test("an entry whose detail was tampered with is shown without it", async () => {
  using it = await setup();
  for (let number = 1; number <= 3; number++) await it.audit.append(entryOf({ detail: { number } }));
  it.database.run("UPDATE audit_entries SET detail = '{\"broken' WHERE id = 1");
  it.database.run("UPDATE audit_entries SET detail = 'null' WHERE id = 2");
  const details = (await it.audit.list({}, { limit: 10 })).map(({ detail }) => detail);
  expect(details).toEqual([{ number: 3 }, { unreadable: true }, { unreadable: true }]);
});

test("few entries among very many are found, and others have their turn meanwhile", async () => {
  using it = await setup();
  await it.audit.append(entryOf({ client: "rare" }));
  it.database.run(
    `WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
     INSERT INTO audit_entries SELECT i, 1, 'many', '', '', 'credential.cleared', '', 'ok', '', '', '{}', '' FROM n`,
  );
  let turns = 0;
  const timer = setInterval(() => (turns += 1), 0);
  const rare = { client: "rare" };
  expect((await it.audit.list(rare, { limit: 10 })).map(({ id }) => id)).toEqual([1]);
  expect(await allEntries(it.audit, { app: "none" })).toEqual([]);
  await it.audit.append(entryOf(rare));
  expect((await it.audit.list(rare, { limit: 10 })).map(({ id }) => id)).toEqual([12_001, 1]);
  expect((await allEntries(it.audit, rare)).map(({ id }) => id)).toEqual([1, 12_001]);
  clearInterval(timer);
  expect(turns).toBeGreaterThanOrEqual(2);
});

test("a long search for entries shows by empty pieces that it goes on", async () => {
  using it = await setup();
  it.database.run(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
     INSERT INTO audit_entries SELECT i, 1, 'many', '', '', 'credential.cleared', '', 'ok', '', '', '{}', '' FROM n`,
  );
  const sizes: number[] = [];
  for await (const records of it.audit.walk({ client: "none" })) sizes.push(records.length);
  expect(sizes.length).toBeGreaterThanOrEqual(5);
  expect(new Set(sizes)).toEqual(new Set([0]));
  const pieces = it.audit.walk({});
  expect((await pieces.next()).value).toHaveLength(1000);
  await pieces.return?.();
  expect((await pieces.next()).done).toBeTrue();
});

test("pages of counts join without a gap or a repeat while more is counted, over a very long table too", async () => {
  using it = await setup();
  it.database.run(
    `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 11999)
     INSERT INTO counts (minute, kind, key, n)
     SELECT i / 50 * 60000, 'usage', concat_ws(char(31), 'c' || (i % 10), 'dev', 'token:read', 'wx' || i), 1 FROM n`,
  );
  const filter = { client: "c7", since: 20 * MINUTE, until: 239 * MINUTE };
  const found: string[] = [];
  let before: number | undefined;
  let turns = 0;
  const timer = setInterval(() => (turns += 1), 0);
  do {
    const page = await it.audit.listUsage(filter, { limit: 400, before });
    found.push(...page.map(({ app }) => app));
    before = page.length === 400 ? page.at(-1)?.id : undefined;
    const app = `new${found.length}`;
    await it.audit.addCounts([usageRow({ minute: 238 * MINUTE, client: "c7", app })]);
  } while (before !== undefined);
  const expected = Array.from({ length: 12_000 }, (_, index) => index).filter(
    (index) => index % 10 === 7 && index >= 20 * 50 && index < 239 * 50,
  );
  expect(found.toSorted()).toEqual(expected.map((index) => `wx${index}`).toSorted());
  expect(await it.audit.listUsage({ client: "nobody" }, { limit: 1 })).toEqual([]);
  expect(await it.audit.listUsage({ client: "c3" }, { limit: 5000 })).toHaveLength(1200);
  clearInterval(timer);
  expect(turns).toBeGreaterThanOrEqual(2);
});

test("among very many counts of a time the search goes through all, and finds the same", async () => {
  using it = await setup();
  it.database.run(
    `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 100999)
     INSERT INTO counts (minute, kind, key, n)
     SELECT i / 1000 * 60000, 'denial', concat_ws(char(31), i, iif(i % 1000 = 7, 'rare', ''), '/v1/apps', 401), 1 FROM n`,
  );
  const counts = await it.audit.listDenials({ client: "rare", since: MINUTE }, { limit: 200 });
  expect(counts.map(({ minute }) => minute / MINUTE)).toEqual(
    Array.from({ length: 100 }, (_, index) => 100 - index),
  );
});
