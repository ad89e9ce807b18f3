import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { binary, ProcessHarness } from "../support/process-harness.ts";

/** What the program wrote, and its exit code, when run with `args` in an empty folder. */
async function run(...args: string[]) {
  await using world = new ProcessHarness(binary());
  const child = world.run(args);
  const code = await child.exited();
  return { code, stdout: child.stdout, stderr: child.stderr, left: readdirSync(world.folder) };
}

test.each(["version", "--version"])(
  "accesstoken %s prints name and version and leaves nothing",
  async (word) => {
    const { code, stdout, stderr, left } = await run(word);
    expect({ code, stderr, left }).toEqual({ code: 0, stderr: "", left: [] });
    expect(stdout).toMatch(/^accesstoken-service \d+\.\d+\.\d+\n$/);
  },
);

test.each(["help", "--help", "-h"])("accesstoken %s prints the usage of every command", async (word) => {
  const { code, stdout, stderr, left } = await run(word);
  expect({ code, stderr, left }).toEqual({ code: 0, stderr: "", left: [] });
  for (const command of ["serve", "sandbox", "demo", "version", "help"])
    expect(stdout).toContain(`  ${command}`);
});

test("accesstoken help is in Chinese where LANG says so", async () => {
  await using world = new ProcessHarness(binary());
  const child = world.run(["help"], { LANG: "zh_CN.UTF-8" });
  expect(await child.exited()).toBe(0);
  expect(child.stdout).toContain("用法：accesstoken <命令> [选项]");
  expect(child.stdout).not.toContain("Usage:");
});

test.each([
  [[]],
  [["worker", "0", "1", "0"]],
  [["--serve"]],
  [["serve", "now"]],
  [["version", "please"]],
  [["sandbox", "--port"]],
  [["sandbox", "--port", "http"]],
  [["demo", "--port", "65536"]],
  [["demo", "3000"]],
  [["demo", "--port", "0", "more"]],
])("accesstoken %j is not understood: usage on stderr, and exit code 2", async (args) => {
  const { code, stdout, stderr, left } = await run(...args);
  expect({ code, stdout, left }).toEqual({ code: 2, stdout: "", left: [] });
  expect(stderr).toMatch(/^Usage: accesstoken [\s\S]*\naccesstoken: [^\n]+\n$/);
});
