import { expect, test } from "bun:test";
import { FROM_SOURCE } from "../support/child.ts";
import { ProcessHarness } from "../support/process-harness.ts";
import { TerminalChild } from "../support/terminal-child.ts";

/** A folder with a service's variables, and the service at a terminal or not. */
function setup(more: Record<string, string> = {}) {
  const world = new ProcessHarness(FROM_SOURCE);
  const variables = { ...world.variables, ...more };
  world.write(
    ".env",
    Object.entries(variables)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(""),
  );
  return {
    world,
    atTerminal: (args: readonly string[] = [], prefix: readonly string[] = []) =>
      new TerminalChild([...prefix, ...FROM_SOURCE, "serve", ...args], world.folder),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

const TIME = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}`;

test.each([
  ["one process", []],
  ["workers", ["--workers", "2"]],
] as const)("at a terminal the log is for people and in color: %s", async (_name, args) => {
  await using at = setup();
  await using child = at.atTerminal(args);
  await child.shows(
    new RegExp(`${TIME} \u001b\\[32mINFO \u001b\\[0m service\\.started url=http://\\S+ version=`),
  );
  child.signal("SIGTERM");
  expect(await child.exited()).toBe(0);
  expect(child.shown).not.toContain('{"time"');
});

test("NO_COLOR turns the colors off, and LOG_FORMAT=json gives JSON at a terminal too", async () => {
  await using at = setup();
  {
    await using child = at.atTerminal([], ["env", "NO_COLOR=1"]);
    await child.shows(new RegExp(`${TIME} INFO  service\\.started`));
    expect(child.shown).not.toContain("\u001b[32m");
  }
  await using child = at.atTerminal([], ["env", "LOG_FORMAT=json"]);
  await child.shows(/\{"time":"[^"]+","level":"info","event":"service\.started"/);
});

test("elsewhere the log is JSON, unless LOG_FORMAT=console", async () => {
  await using at = setup();
  const { service } = await at.world.serve();
  for (const line of service.stdout.trim().split("\n")) expect(() => JSON.parse(line)).not.toThrow();
  service.signal("SIGTERM");
  await service.exited();
  const people = at.world.run(["serve"], { ...at.world.variables, LOG_FORMAT: "console" });
  await people.find(/service\.started/);
  expect(people.stdout).toMatch(new RegExp(`^${TIME} INFO  service\\.started url=`, "m"));
  expect(people.stdout).not.toContain("\u001b");
});
