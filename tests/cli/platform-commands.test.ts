import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkQuery } from "../../src/callbacks/push-reply.ts";
import { Secret } from "../../src/secret.ts";
import { createAdmin } from "../support/access-harness.ts";
import { Harness } from "../support/harness.ts";
import { addAuthorized, COMPONENT, PROVIDER, SHOP, SUITE } from "../support/platforms.ts";
import { runAlone } from "./cli-harness.ts";

const PUBLIC_URL = "https://wx.example.com";

let world: Harness;
let keyFile: string;
let secretFile: string;
beforeAll(async () => {
  world = await Harness.create({ environment: { PUBLIC_URL } });
  keyFile = file("admin-key", await createAdmin(world));
  secretFile = file("secret", COMPONENT.secret);
});
afterAll(async () => {
  await world[Symbol.asyncDispose]();
});

function file(name: string, text: string): string {
  const path = join(world.folder, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

const run = (line: string, options: Parameters<typeof runAlone>[1] = {}) =>
  runAlone(["platforms", ...line.split(" "), "--url", world.service.url, "--key-file", keyFile], options);
const json = async (line: string) =>
  JSON.parse((await run(`${line} --json`)).stdout) as Record<string, unknown>;
const add = (more = "") => run(`add weixin ${COMPONENT.id} --secret-file ${secretFile} --title Shops${more}`);
const forget = () => run(`remove ${COMPONENT.id} --with-authorizations --yes`);

test("a platform is added, listed, shown and removed, and its secret is printed nowhere", async () => {
  const added = await add();
  expect([added.code, added.stderr]).toEqual([0, ""]);
  const listed = await run("list");
  expect(listed.stdout).toMatch(RegExp(`${COMPONENT.id} +component .*none .*0 .*Shops`));
  const shown = await run(`show ${COMPONENT.id}`);
  expect(shown.stdout).toContain(`${PUBLIC_URL}/callback/${COMPONENT.id}/auth`);
  const again = await add();
  expect([again.code, again.stderr]).toEqual([0, expect.stringContaining("exists already")]);
  for (const { stdout, stderr } of [added, listed, shown, again])
    expect(stdout + stderr).not.toContain(COMPONENT.secret);
  const removed = await run(`remove ${COMPONENT.id}`, { typed: "y" });
  expect([removed.code, removed.stdout]).toEqual([0, `${COMPONENT.id} is removed\n`]);
  expect((await run(`show ${COMPONENT.id}`)).code).not.toBe(0);
});

test("--callback says once what to enter where: two URLs, Token, EncodingAESKey and the domain", async () => {
  const { code, stdout, stderr } = await add(" --callback");
  expect(code).toBe(0);
  const value = (name: string) => RegExp(`^${name}.* (\\S+)$`, "m").exec(stdout)?.[1];
  expect([value("event URL"), value("message URL"), value("domain")]).toEqual([
    `${PUBLIC_URL}/callback/${COMPONENT.id}/auth`,
    `${PUBLIC_URL}/callback/${COMPONENT.id}/$APPID$`,
    "wx.example.com",
  ]);
  expect(value("Token")).toMatch(/^[A-Za-z0-9]{3,32}$/);
  expect(value("EncodingAESKey")).toMatch(/^[A-Za-z0-9]{43}$/);
  expect(stderr).toContain("open.weixin.qq.com");
  const again = await add(" --callback");
  expect(again.stdout).not.toContain(String(value("EncodingAESKey")));
  expect(again.stderr).toContain(`accesstoken callbacks rotate ${COMPONENT.id}`);
  expect(await json(`show ${COMPONENT.id}`)).toMatchObject({ callback: { is_set: true } });
  await forget();
});

test("a suite's callbacks are for the suite and its provider", async () => {
  const line = `add wecom ${SUITE.id} --provider ${PROVIDER.id} --secret-file ${file("suite", SUITE.secret)}`;
  const { code, stdout } = await run(`${line} --callback`);
  expect([code, stdout]).toEqual([0, expect.stringContaining(`/callback/${SUITE.id}/$CORPID$`)]);
  const { data } = await world.administer(`/v1/apps/${SUITE.id}/callbacks`);
  expect(data["receive_ids"]).toEqual([SUITE.id, PROVIDER.id]);
  await run(`remove ${SUITE.id} --yes`);
});

test.each([
  ["an unknown kind", "add wechat wxc000000000000001", "component, suite or provider"],
  ["an id that is none of a component", "add weixin wxc0", "16"],
  ["a suite without its provider", `add wecom ${SUITE.id}`, "--provider"],
  ["a secret as an argument", `add weixin ${COMPONENT.id} ${COMPONENT.secret}`, "--secret-file"],
  ["a Token without callbacks", `add weixin ${COMPONENT.id} --token-file token`, "--token-file"],
  ["callbacks of a provider", `add provider ${PROVIDER.id} --callback`, "--callback"],
  ["a name that would be another path", "show ../apps", "AppID"],
  ["no permission sets", `link ${COMPONENT.id} --scopes all`, "--scopes"],
  ["a name for an account", `link ${COMPONENT.id} --account shop`, "--account"],
  ["a return to nowhere", `link ${COMPONENT.id} --return-url shop`, "--return-url"],
])("%s is a usage error that says what to give", async (_, line, word) => {
  const { code, stderr } = await run(line);
  expect([code, stderr]).toEqual([2, expect.stringContaining(word)]);
});

test("accounts are listed with what became of them, and keep their platform unless they go with it", async () => {
  await add();
  const at = world.clock.now();
  const facts = { title: "Flowers", scopes: [1, 7], authorizedAt: at, lostAt: at };
  const shop = await addAuthorized(world, SHOP, COMPONENT.id, facts);
  const { stdout } = await run(`authorizations ${COMPONENT.id}`);
  expect(stdout).toMatch(RegExp(`${shop} +official +lost .*1,7 +Flowers`));
  const kept = await run(`remove ${COMPONENT.id} --yes`);
  expect([kept.code === 0, kept.stderr]).toEqual([false, expect.stringContaining("--with-authorizations")]);
  expect((await forget()).code).toBe(0);
});

test("a Token and key in use are taken over, and another secret takes the place of the first", async () => {
  const aesKey = "k".repeat(43);
  await add(" --callback");
  const token = "TokenInUse";
  const files = `--token-file ${file("token", token)} --aes-key-file ${file("aes-key", aesKey)}`;
  const { code, stdout, stderr } = await add(` --callback ${files}`);
  expect([code, stdout]).toEqual([0, expect.stringContaining(`/callback/${COMPONENT.id}/auth`)]);
  expect(stdout).not.toContain(aesKey);
  expect(stderr).toContain("in use from now on");
  const key = { token: new Secret(token), encodingAesKey: new Secret(aesKey) };
  const query = checkQuery("weixin", { key, receiveId: COMPONENT.id, echo: "echo" }, world.clock.now());
  const checked = await fetch(`${world.service.url}/callback/${COMPONENT.id}/auth?${query}`);
  expect([checked.status, await checked.text()]).toEqual([200, "echo"]);
  const changed = await run(`set-secret ${COMPONENT.id} --secret-file ${file("secret-2", "d1".repeat(16))}`);
  expect([changed.code, changed.stdout]).toEqual([0, expect.stringContaining(COMPONENT.id)]);
  const short = await run(`set-secret ${COMPONENT.id} --secret-file ${file("secret-3", "d1".repeat(13))}`);
  expect([short.code, short.stderr]).toEqual([2, expect.stringContaining("32")]);
  await forget();
});

test("a platform that is held with other settings is not changed, and the refusal says by what it is", async () => {
  await add();
  const { code, stderr } = await run(
    `add weixin ${COMPONENT.id} --secret-file ${file("other", "d2".repeat(16))}`,
  );
  expect(code).toBe(1);
  expect(stderr).toContain(`accesstoken platforms set-secret ${COMPONENT.id}`);
  expect(stderr).toContain(`accesstoken apps set ${COMPONENT.id} --title`);
  await forget();
});

test("without callbacks it is said how to set them, and a disabled platform has no links", async () => {
  const added = await add();
  expect(added.stdout).toContain(`accesstoken callbacks set ${COMPONENT.id}`);
  await world.administer(`/v1/apps/${COMPONENT.id}`, {
    ...{ method: "PATCH", headers: { "content-type": "application/json" } },
    body: JSON.stringify({ disabled: true }),
  });
  const { code, stderr } = await run(`link ${COMPONENT.id}`);
  expect([code, stderr]).toEqual([1, expect.stringContaining(`accesstoken apps enable ${COMPONENT.id}`)]);
  await forget();
});

test("a link is printed with its end", async () => {
  await add();
  const options = "--auth-type 1 --scopes 1,2 --expires 1h --return-url https://shop.example.com/";
  const { code, stdout } = await run(`link ${COMPONENT.id} ${options}`);
  expect([code, stdout]).toEqual([
    0,
    expect.stringMatching(/URL +https:\/\/wx\.example\.com\/connect\/authorize\/\w{32}\n/),
  ]);
  const data = await json(`link ${COMPONENT.id} --expires 1h`);
  expect(data["expires_at"]).toBe(world.clock.now() + 3_600_000);
  await forget();
});

test("without PUBLIC_URL neither URLs nor links can be made, and the variable is named", async () => {
  await world.stop();
  await world.start({ PUBLIC_URL: "" });
  const { code, stderr } = await add(" --callback");
  expect([code === 0, stderr]).toEqual([false, expect.stringContaining("PUBLIC_URL")]);
  const link = await run(`link ${COMPONENT.id}`);
  expect([link.code === 0, link.stderr]).toEqual([false, expect.stringContaining("PUBLIC_URL")]);
  await forget();
});
