import { expect, test } from "bun:test";
import { CliHarness } from "./cli-harness.ts";
import type { HandTerminalOptions } from "../support/manual-terminal.ts";

const CALLERS = [{ caller: "(anonymous 10.0.0.8)", app: "wx1", count: 42 }];

/** A service whose settings are `by`, with such callers in the last day, and the commands that ask it. */
function setup({ callers = CALLERS, by = "database" }: { callers?: object[]; by?: string } = {}) {
  const world = new CliHarness(({ path, body }) =>
    path.endsWith("callers")
      ? { since: 1_795_320_000_000, callers }
      : { ...(by === "environment" || !body ? { anonymous: "on" } : body), anonymous_by: by },
  );
  return {
    world,
    run: (word: string, options: HandTerminalOptions = {}, ...more: string[]) =>
      world.run(["anonymous", word, ...more], options),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

const READ = ["GET /v1/settings/anonymous-callers"];

test("anonymous off lists the last day's callers before it ends their access", async () => {
  await using t = setup();
  const { code, stdout, stderr } = await t.run("off");
  expect(code).toBe(0);
  expect(stderr).toMatch(/CALLER +APP +COUNT\n\(anonymous 10\.0\.0\.8\) +wx1 +42\n/);
  expect(stdout).toContain("off");
  expect(t.world.asked).toEqual([...READ, "PATCH /v1/settings"]);
  expect(t.world.arrived.at(-1)?.body).toEqual({ anonymous: "off" });
});

test.each([
  [{ typed: "y" }, [], CALLERS, 1, 0],
  [{ typed: "n" }, [], CALLERS, 1, 1],
  [{ typed: "" }, [], CALLERS, 1, 1],
  [{ typed: "n" }, ["--yes"], CALLERS, 0, 0],
  [{ typed: "n" }, [], [], 0, 0],
])("at a terminal it asks where there were callers: %j %j", async (options, more, callers, asked, code) => {
  await using t = setup({ callers });
  const ended = await t.run("off", options, ...more);
  expect([ended.questions.length, ended.code]).toEqual([asked, code]);
  expect(t.world.asked).toEqual(code === 0 ? [...READ, "PATCH /v1/settings"] : READ);
});

test("while ANONYMOUS is set, on and off say that it wins", async () => {
  await using t = setup({ by: "environment" });
  for (const word of ["on", "off"]) {
    const { code, stderr } = await t.run(word);
    expect([code, stderr]).toEqual([0, expect.stringContaining("ANONYMOUS=on in the environment wins")]);
  }
});

test("anonymous status shows whether it is on, who decides, and the callers, also as JSON", async () => {
  await using t = setup();
  const { stdout } = await t.run("status");
  for (const part of ["on", "database", "(anonymous 10.0.0.8)"]) expect(stdout).toContain(part);
  expect(JSON.parse((await t.run("status", {}, "--json")).stdout)).toMatchObject({
    anonymous: "on",
    callers: CALLERS,
  });
});

test.each([
  ["add https://b.example", ["https://a.example", "https://b.example"]],
  ["add https://a.example", ["https://a.example"]],
  ["remove https://a.example", []],
  ["reset", null],
])("cors %s changes the list that there is", async (words, sent) => {
  await using world = new CliHarness(({ body }) => ({
    ...{ anonymous: "on", anonymous_by: "database", cors_origins_by: "database" },
    cors_origins: (body as { cors_origins?: string[] | null } | undefined)?.cors_origins ?? [
      "https://a.example",
    ],
  }));
  const { code, stdout } = await world.run(["cors", ...words.split(" ")]);
  expect(code).toBe(0);
  expect(world.arrived.at(-1)).toMatchObject({ method: "PATCH", body: { cors_origins: sent } });
  for (const origin of sent ?? []) expect(stdout).toContain(`${origin}  database\n`);
  expect((await world.run(["cors", "list"])).stdout).toMatch(
    /^ORIGIN +BY\nhttps:\/\/a\.example +database\n$/,
  );
});
