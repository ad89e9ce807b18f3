import { argon2Sync } from "node:crypto";
import { expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Secret } from "../../src/secret.ts";
import { keyIn } from "../../src/store/key-file.ts";
import { exportKey, importKey, installKey } from "../../src/store/key-export.ts";
import { SealingKey } from "../../src/store/sealing-key.ts";
import { RotationFolder } from "../support/rotation-folder.ts";

const PASSPHRASE = new Secret("correct horse 正确的马");
const NOW = Date.UTC(2026, 11, 1);

async function refusal(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "",
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
}

test("the key derivation is that of RFC 9106", () => {
  const derived = argon2Sync("argon2id", {
    ...{ message: Buffer.alloc(32, 1), nonce: Buffer.alloc(16, 2), secret: Buffer.alloc(8, 3) },
    ...{ associatedData: Buffer.alloc(12, 4), parallelism: 4, tagLength: 32, memory: 32, passes: 3 },
  });
  expect(derived.toString("hex")).toBe("0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");
});

test("an exported master key is read again with its passphrase, also where it was typed from paper", async () => {
  const key = SealingKey.random();
  const text = await exportKey(key, PASSPHRASE, NOW);
  expect(text).not.toContain(key.text().reveal());
  expect(text).toContain(`key-id: ${key.keyId}\nexported: 2026-12-01T00:00:00.000Z\n`);
  expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThan(160);
  expect((await importKey(text, PASSPHRASE)).text().reveal()).toBe(key.text().reveal());
  const typed = text
    .replaceAll("\n", "\r\n> ")
    .replace(
      /(salt|sealed): (.*)/g,
      (_, name: string, hex: string) => `${name}:  ${hex.replaceAll(" ", "").toUpperCase()}`,
    );
  expect((await importKey(typed, PASSPHRASE)).keyId).toBe(key.keyId);
});

test("another passphrase, a mistyped digit and what is no export are told apart, in one line", async () => {
  const key = SealingKey.random();
  const text = await exportKey(key, PASSPHRASE, NOW);
  expect(await refusal(importKey(text, new Secret("correct horse")))).toContain(
    "the passphrase is another one",
  );
  const mistyped = text.replace(/sealed: (.)/, (_, digit: string) => `sealed: ${digit === "0" ? "1" : "0"}`);
  expect(await refusal(importKey(mistyped, PASSPHRASE))).toContain("mistyped");
  expect(await refusal(importKey(text.replace(key.keyId, "00000000"), PASSPHRASE))).toContain("another one");
  for (const other of ["", "hello", text.replace(/sealed: .*/, ""), text.replace("m=65536", "m=99999999")])
    expect(await refusal(importKey(other, PASSPHRASE))).toContain("not a file of");
});

test("an imported key opens the database that is here, or is refused; another key file is kept", async () => {
  using files = new RotationFolder();
  await files.fill();
  const own = keyIn(files.keyPath)!;
  const other = SealingKey.random();
  const database = { path: files.path };
  expect(await installKey(own, files.keyPath, database)).toEqual({
    ...{ keyId: own.keyId, wasThere: true, kept: undefined, isProven: true },
  });
  expect(await refusal(installKey(other, files.keyPath, database))).toContain("does not open the database");
  expect(keyIn(files.keyPath)!.keyId).toBe(own.keyId);
  writeFileSync(files.keyPath, `${other.text().reveal()}\n`);
  const report = await installKey(own, files.keyPath, database);
  expect(report).toMatchObject({ wasThere: false, kept: `${files.keyPath}.${other.keyId}`, isProven: true });
  expect([keyIn(files.keyPath)!.keyId, keyIn(report.kept!)!.keyId]).toEqual([own.keyId, other.keyId]);
  const away = join(files.folder, "new", "keys", "master.key");
  const fresh = await installKey(own, away, { path: join(files.folder, "none.db") });
  expect(fresh).toMatchObject({ wasThere: false, kept: undefined, isProven: false });
  expect(statSync(away).mode & 0o777).toBe(0o600);
  expect(readFileSync(away, "utf8")).toBe(`${own.text().reveal()}\n`);
  expect(existsSync(join(files.folder, "none.db"))).toBe(false);
  rmSync(files.path);
  expect(await installKey(other, files.keyPath, database)).toMatchObject({ isProven: false });
});
