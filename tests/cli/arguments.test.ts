import { expect, test } from "bun:test";
import { Arguments, type CommandSpec, parseArguments } from "../../src/cli/arguments.ts";
import { ServiceError } from "../../src/errors.ts";

const TEXT = { en: "", zh: "" };
const SPEC: CommandSpec = {
  words: ["try"],
  meaning: TEXT,
  positionals: [
    { name: "first", meaning: TEXT },
    { name: "second", isOptional: true, meaning: TEXT },
  ],
  options: [
    { name: "json", meaning: TEXT },
    { name: "limit", value: "<n>", meaning: TEXT },
    { name: "network", value: "<cidr>", isRepeatable: true, meaning: TEXT },
  ],
  run: () => Promise.resolve(0),
};

/** What `args` are understood as. */
function parsed(...args: string[]): Arguments {
  const result = parseArguments(SPEC, args);
  if (result === "help") throw new Error("it was taken for a request for help");
  return result;
}

/** Why `args` are not understood. */
function complaint(...args: string[]): string {
  try {
    parseArguments(SPEC, args);
  } catch (error) {
    if (error instanceof ServiceError && error.code === "invalid_parameter") return error.message;
    throw error;
  }
  throw new Error("it should not have been understood");
}

test("positionals, values, switches and repeatable options are found by their names", () => {
  const args = parsed("a", "--network", "10.0.0.0/8", "--json", "b", "--network=::1/128", "--limit", "7");
  expect([args.get("first"), args.find("second"), args.isSet("json")]).toEqual(["a", "b", true]);
  expect(args.all("network")).toEqual(["10.0.0.0/8", "::1/128"]);
  expect(args.findNumber("limit", { min: 1, max: 10 })).toBe(7);
  expect(parsed("a").find("second")).toBeUndefined();
  expect(parsed("a").isSet("json")).toBe(false);
});

test("a lone hyphen is a value, and everything behind two hyphens is a positional", () => {
  expect(parsed("a", "--limit", "-").find("limit")).toBe("-");
  expect(parsed("a", "--", "--json").find("second")).toBe("--json");
});

test.each([
  [[], "缺少参数 <first> (argument <first> is missing)"],
  [["a", "b", "c"], "多余的参数 (too many arguments)"],
  [["a", "--nope"], "未知的选项 --nope (unknown option --nope)"],
  [["a", "-x"], "未知的选项 -x (unknown option -x)"],
  [["a", "-hx"], "未知的选项 -x (unknown option -x)"],
  [["a", "--limit"], "--limit 缺少参数值 (--limit needs a value)"],
  [["a", "--limit", "--json"], "--limit 缺少参数值 (--limit needs a value)"],
  [["a", "--json=yes"], "--json 不带参数值 (--json takes no value)"],
  [["a", "--help=yes"], "--help 不带参数值 (--help takes no value)"],
  [["a", "--limit", "1", "--limit", "2"], "--limit 重复 (--limit is given twice)"],
  [["a", "--json", "--json"], "--json 重复 (--json is given twice)"],
])("%j is not understood, with one line that says why", (args, line) => {
  expect(complaint(...args)).toBe(line);
});

test("P6: what may be a secret is not repeated in the line", () => {
  const secret = "hunter2-hunter2";
  for (const args of [
    ["a", `--secret=${secret}`],
    ["a", `--json=${secret}`],
    ["a", "b", secret],
    ["a", "--secret", secret],
  ]) {
    expect(complaint(...args)).not.toContain(secret);
  }
});

test.each(["0", "11", "1.5", "-1", "1e1", "", "seven", "0x5", "99999999999"])(
  "%j is no number from 1 to 10",
  (text) => {
    expect(() => parsed("a", `--limit=${text}`).findNumber("limit", { min: 1, max: 10 })).toThrow(
      "--limit: 应为1到10的整数 (must be an integer from 1 to 10)",
    );
  },
);

test.each([["--help"], ["-h"]])("%s asks for help, also where something is missing", (word) => {
  expect(parseArguments(SPEC, [word])).toBe("help");
  expect(parseArguments(SPEC, ["a", "b", "c", word])).toBe("help");
});
