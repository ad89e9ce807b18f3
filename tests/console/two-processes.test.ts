import { expect, test } from "bun:test";
import { ConsolePage } from "../support/console-page.ts";
import { Harness } from "../support/harness.ts";
import { binary, ProcessHarness } from "../support/process-harness.ts";
import { TerminalChild } from "../support/terminal-child.ts";

/** Within this, what one process has ended is ended in every other; a busy machine may take longer to say so. */
const KNOWN_MS = 1000;

/** Two services in processes of their own on one database, and the command line beside them. */
async function setup() {
  const processes = new ProcessHarness(binary());
  const [one, other] = [await processes.serve(), await processes.serve()];
  const command = async (...args: readonly string[]) => {
    const child = processes.run(args);
    return { exitCode: await child.exited(), text: child.stdout.trim(), told: child.stderr };
  };
  const link = async (...args: readonly string[]) => {
    const [, token = ""] =
      /#\/(?:setup|sign-in)\/([\w-]{43})$/.exec((await command("console", ...args)).text) ?? [];
    return token;
  };
  const pages = [one, other].map(({ url }) => new ConsolePage(() => url)) as [ConsolePage, ConsolePage];
  const dispose = () => processes[Symbol.asyncDispose]();
  return { one, other, pages, command, link, [Symbol.asyncDispose]: dispose };
}

/** How long after `end` the page is still let in. */
async function letInMs(page: ConsolePage, end: () => Promise<unknown>): Promise<number> {
  await end();
  const endedAt = performance.now();
  await Harness.until(async () => (await page.get("/v1/apps")).status === 401);
  return performance.now() - endedAt;
}

test("a set-up link of the command line works once, of two processes that are asked at the same moment too", async () => {
  await using at = await setup();
  const token = await at.link("setup");
  const answers = await Promise.all(at.pages.map((page) => page.send("POST", "/console/setup", { token })));
  expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 401]);
  const again = await at.command("console", "setup");
  expect([again.exitCode, again.text]).toEqual([1, ""]);
  expect(again.told).toContain("console login");
  expect(at.one.service.stdout).not.toContain(token);
});

test("a session counts in every process, and ends in every one within a second: by sign-out, by the end of its key, by the end of its client", async () => {
  await using at = await setup();
  const [here, there] = at.pages;
  const made = await here.send("POST", "/console/setup", { token: await at.link("setup") });
  expect(made.status).toBe(201);
  const signIn = async (client: string) => {
    await at.command("clients", "add", client, "--environment", "dev", "--apps", "all", "--actions", "view");
    const { text: key } = await at.command("keys", "create", client);
    const page = new ConsolePage(() => at.other.url);
    await Harness.until(async () => (await page.signIn(key)).status === 200);
    await Harness.until(async () => (await page.get("/v1/apps")).status === 200);
    return { page, key: key.slice(0, 12) };
  };
  const [byKey, byClient] = [await signIn("one"), await signIn("two")];
  there.cookie = here.cookie.replace(/^ats-\d+/, `ats-${new URL(at.other.url).port}`);
  await Harness.until(async () => (await there.get("/v1/apps")).status === 200);
  const remove = (path: string) => here.send("DELETE", path);
  const took = [
    await letInMs(byKey.page, () => remove(`/v1/clients/one/keys/${byKey.key}`)),
    await letInMs(byClient.page, () => remove("/v1/clients/two")),
    await letInMs(there, () => remove("/console/session")),
  ];
  expect(took.filter((ms) => ms > KNOWN_MS)).toEqual([]);
});

test("serve prints a set-up link where it makes its database at a terminal, and only there", async () => {
  await using processes = new ProcessHarness(binary());
  const env = Object.entries({ ...processes.variables, PORT: "0" }).map(
    ([name, value]) => `${name}=${value}`,
  );
  const command = ["/usr/bin/env", ...env, ...binary(), "serve"];
  {
    await using first = new TerminalChild(command, processes.folder);
    const [, origin = "", token = ""] = await first.shows(/(http:\S+)\/console\/#\/setup\/([\w-]{43})/);
    expect(first.shown).not.toContain("console.setup_needed");
    const page = new ConsolePage(() => origin);
    const { status, data } = await page.send("POST", "/console/setup", { token });
    expect([status, data["me"]]).toMatchObject([201, { client: "admin", is_admin: true }]);
    first.signal("SIGTERM");
    await first.exited();
  }
  await using second = new TerminalChild(command, processes.folder);
  await second.shows("service.started");
  second.signal("SIGTERM");
  await second.exited();
  expect(second.shown).not.toContain("#/setup/");
});

test("the log of a service without an administrator says how to get a set-up link, and has none", async () => {
  await using processes = new ProcessHarness(binary());
  const { service } = await processes.serve();
  await service.find(/"event":"console.setup_needed".*(accesstoken console setup)/);
  expect(service.stdout).not.toContain("#/setup/");
});
