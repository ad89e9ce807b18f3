import { expect, test } from "bun:test";
import { FROM_SOURCE } from "../support/child.ts";
import { TerminalChild } from "../support/terminal-child.ts";
import { CliHarness } from "./cli-harness.ts";

const SECRET = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
const QUESTION = "Secret of wx1: ";

/** A service that refuses whatever it is asked, and a person at the prompt for a secret. */
async function setup() {
  const world = new CliHarness(() =>
    Response.json({ code: 403, msg: "no", data: {}, trace_id: "t" }, { status: 403 }),
  );
  const args = ["apps", "set-secret", "wx1", "--url", world.url];
  const child = new TerminalChild([...FROM_SOURCE, ...args], world.folder);
  await child.shows(QUESTION);
  return {
    world,
    child,
    [Symbol.asyncDispose]: async () => {
      await child[Symbol.asyncDispose]();
      await world[Symbol.asyncDispose]();
    },
  };
}

test("P6: what is typed at the prompt is sent and never shown", async () => {
  await using at = await setup();
  expect(at.child.hasEcho).toBe(false);
  at.child.type(`wrong\u0015${SECRET}x\u007f\u001b[D\r`);
  expect(await at.child.exited()).toBe(1);
  expect(at.world.arrived.map(({ body }) => body)).toEqual([{ secret: SECRET, verify: true }]);
  await at.child.shows("code 403");
  expect(at.child.shown).toStartWith(`${QUESTION}\r\naccesstoken: no`);
  expect(at.child.hasEcho).toBe(true);
});

test.each([
  ["Ctrl+C", "\u0003"],
  ["Ctrl+D", "\u0004"],
])(
  "%s at the prompt ends the command with exit code 1, and the terminal shows again what is typed",
  async (_name, key) => {
    await using at = await setup();
    at.child.type(key);
    expect(await at.child.exited()).toBe(1);
    expect(at.child.hasEcho).toBe(true);
    expect(at.world.arrived).toEqual([]);
  },
);

test("a signal that ends the command at the prompt leaves the terminal as it was", async () => {
  await using at = await setup();
  at.child.signal("SIGTERM");
  expect(await at.child.exited()).toBe(1);
  expect(at.child.hasEcho).toBe(true);
  expect(at.world.arrived).toEqual([]);
});

test.each([
  ["y\r", 0, ["DELETE /v1/clients/bot"]],
  ["n\u007fyes\r", 0, ["DELETE /v1/clients/bot"]],
  ["\r", 1, []],
  ["\u0003", 1, []],
])(
  "before something is removed the person is asked, and sees what is typed: %j",
  async (typed, code, asked) => {
    await using world = new CliHarness(() => ({}));
    const args = ["clients", "remove", "bot", "--url", world.url, "--key-file", world.path("key")];
    await using child = new TerminalChild([...FROM_SOURCE, ...args], world.folder);
    await child.shows("[y/N] ");
    child.type(typed);
    expect(await child.exited()).toBe(code);
    expect(world.asked).toEqual(asked);
    if (typed.startsWith("y")) expect(child.shown).toContain("[y/N] y");
    expect(child.hasEcho).toBe(true);
  },
);
