import { expect, test } from "bun:test";
import { format, inspect } from "node:util";
import { Secret } from "../src/secret.ts";

const TEXT = "a-secret-that-must-not-be-seen";

test("P6: a secret is never printed: not in a template, JSON, an inspection, an error or a log line", () => {
  const secret = new Secret(TEXT);
  // What a careless line would do, so the rule that forbids it has to look away.
  // oxlint-disable-next-line typescript/restrict-template-expressions
  const inTemplate = `${secret}`;
  const error = new Error(inTemplate, { cause: secret });
  const printed = [
    inTemplate,
    String(secret),
    "" + secret,
    [secret].join(),
    JSON.stringify({ secret, list: [secret] }),
    inspect(secret),
    inspect({ deep: { deeper: [secret] } }, { depth: 9, showHidden: true }),
    Bun.inspect({ secret, map: new Map([["key", secret]]) }),
    format("%s %o %O %j", secret, secret, secret, secret),
    inspect(error),
    Object.entries(secret).join(),
    Object.getOwnPropertyNames(secret).join(),
    JSON.stringify(Object.assign({}, secret)),
  ];
  for (const text of printed) expect(text).not.toContain(TEXT);
  expect(printed[0]).toBe("[secret]");
  expect(printed[4]).toBe('{"secret":"[secret]","list":["[secret]"]}');
});

test("P6: what a console writes of a secret is its mask", () => {
  const code = `
    import { Secret } from "./src/secret.ts";
    const secret = new Secret("${TEXT}");
    console.log(secret, { secret }, [secret], "%s", secret);
    console.error(secret);
    console.table([{ secret }]);
    throw Object.assign(new Error("failed with " + secret), { secret });`;
  const { stdout, stderr } = Bun.spawnSync([process.execPath, "-e", code], { cwd: `${import.meta.dir}/..` });
  const written = stdout.toString() + stderr.toString().replaceAll(code, "");
  expect(written).toContain("[secret]");
  expect(written.replaceAll(`new Secret("${TEXT}")`, "")).not.toContain(TEXT);
});

test("a secret is revealed to who asks for it, and compared without being revealed", () => {
  expect(new Secret(TEXT).reveal()).toBe(TEXT);
  expect(new Secret(TEXT).equals(new Secret(TEXT))).toBeTrue();
  for (const other of ["", TEXT + "x", TEXT.slice(1), TEXT.toUpperCase()])
    expect(new Secret(TEXT).equals(new Secret(other))).toBeFalse();
});
