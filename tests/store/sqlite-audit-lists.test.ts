import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import type { AuditFilter, ReadKey } from "../../src/audit/audit-store.ts";
import { entryOf } from "../support/audit-entries.ts";
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

test("entries are found by app, client, environment, action and time, and by all together", async () => {
  using it = await setup();
  const start = it.clock.now();
  const facts = [
    { app: "wx1", client: "one", environment: "dev", action: "credential.cleared" },
    { app: "wx2", client: "one", environment: "dev", action: "credential.refreshed" },
    { app: "wx1", client: "two", environment: "prod", action: "credential.cleared" },
    { app: "", client: "two", environment: "prod", action: "client.created" },
    { app: "wx1", client: "one", environment: "prod", action: "credential.cleared" },
  ] as const;
  for (const each of facts) {
    await it.audit.append(entryOf(each));
    it.clock.advance(1000);
  }
  const cases: readonly (readonly [AuditFilter, number[]])[] = [
    [{}, [1, 2, 3, 4, 5]],
    [{ app: "wx1" }, [1, 3, 5]],
    [{ client: "one" }, [1, 2, 5]],
    [{ environment: "prod" }, [3, 4, 5]],
    [{ action: "credential.cleared" }, [1, 3, 5]],
    [{ since: start + 2000 }, [3, 4, 5]],
    [{ until: start + 2000 }, [1, 2]],
    [{ since: start + 1000, until: start + 3000 }, [2, 3]],
    [{ app: "wx1", client: "one", environment: "prod", action: "credential.cleared", since: start }, [5]],
    [{ since: start + 5000 }, []],
    [{ app: "wx3" }, []],
  ];
  for (const [filter, ids] of cases) {
    const forward = await it.audit.listForward(filter, { limit: 100, after: 0 });
    expect(forward.map(({ id }) => id)).toEqual(ids);
    const newest = await it.audit.list(filter, { limit: 100 });
    expect(newest.map(({ id }) => id)).toEqual(ids.toReversed());
  }
});

test("pages join without a gap or a repeat, whichever way they go", async () => {
  using it = await setup();
  for (let number = 1; number <= 10; number++) {
    await it.audit.append(entryOf({ client: number % 3 === 0 ? "third" : "other" }));
  }
  const ids = async (page: Promise<readonly { id: number }[]>) => (await page).map(({ id }) => id);
  expect(await ids(it.audit.list({}, { limit: 4 }))).toEqual([10, 9, 8, 7]);
  expect(await ids(it.audit.list({}, { limit: 4, before: 7 }))).toEqual([6, 5, 4, 3]);
  expect(await ids(it.audit.list({}, { limit: 4, before: 3 }))).toEqual([2, 1]);
  expect(await ids(it.audit.list({}, { limit: 4, before: 1 }))).toEqual([]);
  expect(await ids(it.audit.list({ client: "third" }, { limit: 2 }))).toEqual([9, 6]);
  expect(await ids(it.audit.list({ client: "third" }, { limit: 2, before: 6 }))).toEqual([3]);
  expect(await ids(it.audit.listForward({}, { limit: 6, after: 0 }))).toEqual([1, 2, 3, 4, 5, 6]);
  expect(await ids(it.audit.listForward({}, { limit: 6, after: 6 }))).toEqual([7, 8, 9, 10]);
  expect(await ids(it.audit.listForward({ client: "third" }, { limit: 2, after: 3 }))).toEqual([6, 9]);
});

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
  expect((await it.audit.listForward({ app: "none" }, { limit: 10, after: 0 })).length).toBe(0);
  await it.audit.append(entryOf(rare));
  expect((await it.audit.list(rare, { limit: 10 })).map(({ id }) => id)).toEqual([12_001, 1]);
  expect((await it.audit.listForward(rare, { limit: 10, after: 0 })).map(({ id }) => id)).toEqual([
    1, 12_001,
  ]);
  clearInterval(timer);
  expect(turns).toBeGreaterThanOrEqual(2);
});

const READ = { client: "one", environment: "dev", action: "token:read", app: "wx1" };
const REFUSAL = { address: "10.0.0.1", client: "", route: "/v1/apps", code: 403 };

test("counts of the same minute add up, whoever adds them", async () => {
  using it = await setup();
  await it.audit.addReads([{ minute: 0, ...READ, count: 2 }]);
  await it.audit.addReads([
    { minute: 0, ...READ, count: 3 },
    { minute: 0, ...READ, app: "wx2", count: 1 },
    { minute: 0, ...READ, count: 4 },
  ]);
  await it.audit.addReads([]);
  expect(await it.audit.listReads({}, { limit: 10 })).toEqual([
    { minute: 0, ...READ, app: "wx2", count: 1 },
    { minute: 0, ...READ, count: 9 },
  ]);
  await it.audit.addRefusals([{ minute: 0, ...REFUSAL, count: 2 }]);
  await it.audit.addRefusals([
    { minute: 0, ...REFUSAL, count: 3 },
    { minute: 0, ...REFUSAL, code: 401, count: 1 },
  ]);
  await it.audit.addRefusals([]);
  expect(await it.audit.listRefusals({}, { limit: 10 })).toEqual([
    { minute: 0, ...REFUSAL, count: 5 },
    { minute: 0, ...REFUSAL, code: 401, count: 1 },
  ]);
});

test("counts are found by what narrows them, and a minute counts when any of it is within the time", async () => {
  using it = await setup();
  await it.audit.addReads([
    { minute: 0, ...READ, count: 1 },
    { minute: MINUTE, ...READ, client: "two", count: 2 },
    { minute: 2 * MINUTE, ...READ, environment: "prod", count: 3 },
    { minute: 3 * MINUTE, ...READ, action: "token:clear", count: 4 },
    { minute: 4 * MINUTE, ...READ, app: "wx2", count: 5 },
  ]);
  const counts = async (filter: AuditFilter) =>
    (await it.audit.listReads(filter, { limit: 10 })).map(({ count }) => count);
  expect(await counts({})).toEqual([5, 4, 3, 2, 1]);
  expect(await counts({ client: "one" })).toEqual([5, 4, 3, 1]);
  expect(await counts({ environment: "prod" })).toEqual([3]);
  expect(await counts({ action: "token:read" })).toEqual([5, 3, 2, 1]);
  expect(await counts({ app: "wx2" })).toEqual([5]);
  await it.audit.addReads([
    { minute: 0, ...READ, action: "api:call /wxa", count: 6 },
    { minute: 0, ...READ, action: "api:call", count: 7 },
    { minute: 0, ...READ, action: "api:calls", count: 8 },
  ]);
  expect(await counts({ action: "api:call" })).toEqual([6, 7]);
  expect(await counts({ action: "token:read" })).toEqual([5, 3, 2, 1]);
  expect(await counts({ since: 3 * MINUTE })).toEqual([5, 4]);
  expect(await counts({ since: 3 * MINUTE - 1 })).toEqual([5, 4, 3]);
  expect(await counts({ until: 2 * MINUTE, action: READ.action })).toEqual([2, 1]);
  expect(await counts({ until: 2 * MINUTE + 1, action: READ.action })).toEqual([3, 2, 1]);
  expect(await counts({ since: MINUTE, until: 3 * MINUTE, client: "two" })).toEqual([2]);
  await it.audit.addRefusals([
    { minute: 0, ...REFUSAL, count: 1 },
    { minute: MINUTE, ...REFUSAL, client: "two", count: 2 },
    { minute: 2 * MINUTE, ...REFUSAL, code: -1, count: 3 },
  ]);
  const refused = async (filter: AuditFilter) =>
    (await it.audit.listRefusals(filter, { limit: 10 })).map(({ count }) => count);
  expect(await refused({ client: "two" })).toEqual([2]);
  expect(await refused({ since: 2 * MINUTE })).toEqual([3]);
  expect(await refused({ since: MINUTE, until: 2 * MINUTE })).toEqual([2]);
});

test("pages of counts join without a gap or a repeat while more is counted, over a very long table too", async () => {
  using it = await setup();
  it.database.run(
    `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 11999)
     INSERT INTO audit_reads SELECT i / 50 * 60000, 'c' || (i % 10), 'dev', 'token:read', 'wx' || i, 1 FROM n`,
  );
  const filter = { client: "c7", since: 20 * MINUTE, until: 239 * MINUTE };
  const found: string[] = [];
  let after: ReadKey | undefined;
  do {
    const page = await it.audit.listReads(filter, { limit: 400, after });
    found.push(...page.map(({ app }) => app));
    after = page.length === 400 ? page.at(-1) : undefined;
    await it.audit.addReads([
      { minute: 238 * MINUTE, ...READ, client: "c7", app: `new${found.length}`, count: 1 },
    ]);
  } while (after);
  const expected = Array.from({ length: 12_000 }, (_, index) => index).filter(
    (index) => index % 10 === 7 && index >= 20 * 50 && index < 239 * 50,
  );
  expect(found.toSorted()).toEqual(expected.map((index) => `wx${index}`).toSorted());
  expect(await it.audit.listReads({ client: "nobody" }, { limit: 1 })).toEqual([]);
  expect(await it.audit.listReads({ client: "c3" }, { limit: 5000 })).toHaveLength(1200);
});
