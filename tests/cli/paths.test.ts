import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { ServiceError } from "../../src/errors.ts";
import { CliHarness } from "./cli-harness.ts";

const APP = "wx0000000000000001";

/** Commands that read a file, by what names it in their complaints. */
const READING: readonly (readonly [string, ...string[]])[] = [
  ["--secret-file", "apps", "add", APP, "--secret-file"],
  ["--secret-file", "apps", "set-secret", APP, "--secret-file"],
  ["--secret-file", "platforms", "add", "weixin", APP, "--secret-file"],
  ["--token-file", "callbacks", "set", APP, "--token-file"],
  ["--webhook-file", "notify", "add", "ops", "--kind", "wecom", "--webhook-file"],
  ["<file>", "domains", "verify-file"],
  ["-f", "apply", "-f"],
];
const WRITING: readonly (readonly string[])[] = [
  ["keys", "create", "bot", "--out"],
  ["audit", "export", "--out"],
  ["environments", "add", "dev", "--backend", "shop", "--apps", "*", "--out"],
];

/** A service that has nothing, and a folder with a file and a folder in it. */
function setup() {
  const world = new CliHarness(({ method, path }) => {
    if (method !== "GET") throw new Error("nothing is to be changed");
    if (path.split("/").length > 3) throw new ServiceError("not_found", "没有 (there is none)");
    return { [path.split("?")[0]?.split("/").at(-1) ?? ""]: [], next: null };
  });
  writeFileSync(world.path("plain"), "x");
  mkdirSync(world.path("folder"));
  return world;
}

test.each(READING)(
  "a path of %s that can't be read is told in one line, with what to do: %s %s",
  async (...row) => {
    const [argument, ...args] = row;
    await using world = setup();
    for (const [name, why] of [
      ["plain/x", "ENOTDIR"],
      ["none/x", "ENOENT"],
      ["folder", "EISDIR"],
    ] as const) {
      const path = world.path(name);
      const { code, stdout, stderr } = await world.run([...args, path]);
      // What is typed where a file with a secret is asked for may be the secret itself.
      const isUnsaid = why !== "EISDIR" && argument.startsWith("--");
      const line = isUnsaid
        ? `accesstoken: ${argument}: there is no such file, or its folder can't be entered; if that was the secret itself, change it`
        : `accesstoken: ${argument}: ${path} can't be read: ${why}; check path, owner and mode`;
      expect([code, stdout, stderr.split("\n").slice(1)]).toEqual([2, "", [line, ""]]);
    }
    expect(world.asked.filter((asked) => !asked.startsWith("GET "))).toEqual([]);
  },
);

test.each(WRITING)(
  "a path of --out that can't be made is named in one line, with what to do: %s %s",
  async (...args) => {
    await using world = setup();
    const path = world.path("plain/x");
    const { code, stderr } = await world.run([...args, path]);
    const line = `accesstoken: --out: ${path} can't be made: ENOTDIR; check path, free space and permissions`;
    expect([code, stderr.split("\n").slice(-2)]).toEqual([2, [line, ""]]);
    expect(world.asked.filter((asked) => !asked.startsWith("GET "))).toEqual([]);
  },
);
