import { expect } from "bun:test";
import { Child, FROM_SOURCE } from "../support/child.ts";
import { beforeCopies, CopiedFolder } from "../support/copied-folder.ts";
import { PostgresServer, postgresTest as test } from "../support/postgres-server.ts";

const PASSWORD = "canary-password-0123456789";

/** A full database as that of the configuration, an empty PostgreSQL, and the command. */
async function setup() {
  const folder = await CopiedFolder.create();
  const url = new URL(await (await PostgresServer.shared()).createDatabase());
  url.password = PASSWORD;
  const copy = async (args: readonly string[], env: Record<string, string> = {}) => {
    await using child = new Child([...FROM_SOURCE, "store", "copy", ...args], {
      cwd: folder.folder,
      env: { DATABASE_URL: `file:${folder.path}`, ...env },
    });
    const code = await child.exited();
    expect(child.stdout + child.stderr).not.toContain(PASSWORD);
    return { code, stdout: child.stdout, stderr: child.stderr };
  };
  return { folder, url: url.href, copy, [Symbol.dispose]: () => folder[Symbol.dispose]() };
}

test("store copy says what it copied, in the person's language or as JSON, and never a password", async () => {
  using it = await setup();
  const { code, stdout, stderr } = await it.copy(["--to", it.url]);
  expect(code).toBe(0);
  // Where it takes seconds it says how far it is.
  expect(stderr).toMatch(/^(\w+: \d+ (copied|compared)\n)*$/);
  expect(stdout).toMatch(/^api_keys: \d+$/m);
  expect(stdout).toMatch(
    /Copied and compared: \d+ rows\.\nEncrypted under the master key \w+.*\nAudit: intact, \d+ entries\.\n$/,
  );
  const again = await it.copy(["--to", it.url], { LANG: "zh_CN.UTF-8" });
  expect([again.code, again.stdout]).toEqual([3, ""]);
  expect(again.stderr).toMatch(/目标数据库不为空，未作任何改动；其中有：.*\bapi_keys \d/);
  const back = await it.copy(["--from", it.url, "--to", "back.db", "--json"]);
  expect(back.code).toBe(0);
  expect(JSON.parse(back.stdout)).toMatchObject({ texts_with_nul: 0, audit: { intact: true } });
  const [home, before] = [await it.folder.rows(`${it.folder.folder}/back.db`), await it.folder.rows()];
  expect(beforeCopies(home)).toEqual(beforeCopies(before));
});

test("store copy between two of a kind, or without a target, is wrong usage; a server that is not there is named", async () => {
  using it = await setup();
  expect((await it.copy([])).code).toBe(2);
  const { code, stderr } = await it.copy(["--to", "other.db"]);
  expect([code, stderr.includes("must be SQLite, and the other PostgreSQL")]).toEqual([2, true]);
  const away = await it.copy(["--to", `postgres://a:${PASSWORD}@127.0.0.1:1/none`]);
  expect(away.code).toBe(3);
  expect(away.stderr).toContain("postgres://127.0.0.1:1/none: can't be used");
});
