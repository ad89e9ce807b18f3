import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isWellFormedApiKey } from "../../src/access/api-key.ts";
import { Child } from "../support/child.ts";
import { binary, ProcessHarness } from "../support/process-harness.ts";

test("a key that is written to a file stays there when standard output can't be written", async () => {
  await using world = new ProcessHarness(binary());
  const [program = ""] = binary();
  const line = `"${program}" keys create --admin --out admin.key > /dev/full`;
  await using child = new Child(["sh", "-c", line], { cwd: world.folder });
  expect(await child.exited()).toBe(1);
  expect(child.stderr).toContain("standard output can't be written to: ENOSPC\n");
  expect(child.stderr).not.toMatch(/\n\s+at /);
  const key = readFileSync(join(world.folder, "admin.key"), "utf8").trim();
  expect(isWellFormedApiKey(key)).toBe(true);
  const listed = world.run(["keys", "list", "admin"]);
  expect(await listed.exited()).toBe(0);
  expect(listed.stdout).toMatch(new RegExp(`${key.slice(0, 12)}.*active`));
});
