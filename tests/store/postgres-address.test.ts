import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { postgresAddress } from "../../src/store/postgres/address.ts";

const NONE = { passwordFile: undefined, passFile: undefined };

function setup() {
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-address-"));
  const write = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  return { write, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

test("P6: the password is kept apart from the URL", () => {
  const { url, password } = postgresAddress("postgres://me:p%40ss@db/x?sslmode=verify-full", NONE);
  expect(url).toBe("postgres://me@db/x?sslmode=verify-full");
  expect(password?.()).toBe("p@ss");
});

test("TLS is used where the server has it, unless the URL says otherwise", () => {
  expect(postgresAddress("postgresql://me@db/x", NONE).url).toContain("sslmode=prefer");
  expect(postgresAddress("postgres://me@db/x?sslmode=disable", NONE).url).toContain("sslmode=disable");
});

test("a password file wins over the URL, and is read each time", () => {
  using it = setup();
  const passwordFile = it.write("password", "one\n");
  const { password } = postgresAddress("postgres://me:other@db/x", { ...NONE, passwordFile });
  expect(password?.()).toBe("one");
  it.write("password", "two");
  expect(password?.()).toBe("two");
});

test("a password file of PostgreSQL's own is searched for the first line that fits", () => {
  using it = setup();
  const lines = [
    "# a comment",
    "other:*:*:*:no",
    "db:5433:*:*:no",
    "db:5432:x:me:a\\:b\\\\c",
    "*:*:*:*:any",
    "",
  ];
  const passFile = it.write("pgpass", lines.join("\n"));
  const of = (url: string) => postgresAddress(url, { ...NONE, passFile }).password?.();
  expect(of("postgres://me@db/x")).toBe("a:b\\c");
  expect(of("postgres://me@db/y")).toBe("any");
  expect(of("postgres://me:own@db/x")).toBe("own");
  expect(postgresAddress("postgres://me@db/x", NONE).password?.()).toBe("");
});
