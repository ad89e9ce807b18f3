import { expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { binary, ProcessHarness } from "../support/process-harness.ts";
import { codeOf, read } from "./document.ts";

const { blocks, tables } = read("docs/environments.md");
const ENVIRONMENTS = ["prod", "pre", "st", "dev"];
const PROGRAMS = ["shop", "crm", "erp", "h5", "admin"];
const OPENID = "oLVPpjqs9BhvzwPj5A-vTYAX3GLc";
const APP = { appId: "wx0123456789abcdef", secret: "f0e1d2c3b4a5968778695a4b3c2d1e0f" };
const VERIFY_FILE = "MP_verify_a1B2c3D4e5F6g7H8.txt";

/** The page's commands, each with its lines in one, and this machine in the place of the office. */
const COMMANDS = blocks
  .filter(({ language }) => language === "console")
  .flatMap(({ text }) =>
    text
      .replaceAll(/\\\n\s*/g, "")
      .trim()
      .split("\n"),
  )
  .map((line) => line.replaceAll("10.0.0.0/8", "127.0.0.0/8"));
const isApply = (command: string) => command.startsWith("accesstoken apply");

/** What the page says of a path: the cells of its row, one for each environment. */
function rowOf(path: string): string[] {
  const row = tables.flat().find((cells) => codeOf(cells[0] ?? "").includes(path));
  if (row === undefined) throw new Error(`${path} has no row`);
  return row.slice(1);
}

/** A service that has been told nothing yet, and a folder with what the page takes to be there. */
async function setup() {
  const world = new ProcessHarness(binary(), { weixinApps: [APP] });
  const at = (name: string) => join(world.folder, name);
  writeFileSync(at("secret"), APP.secret, { mode: 0o600 });
  world.write(VERIFY_FILE, "a1B2c3D4e5F6g7H8");
  const variables = {
    PORT: "0",
    WEIXIN_BASE_URL: world.sandbox.weixinUrl,
    WECOM_BASE_URL: world.sandbox.wecomUrl,
    PUBLIC_URL: "https://wx.example.com",
  };
  const service = world.run(["serve"], variables);
  const url = await service.serviceUrl();
  return {
    at,
    url,
    world,
    /** Runs a command of the page; what it wrote. */
    run: async (command: string) => {
      const secret = command.startsWith("accesstoken apps add") ? ["--secret-file", "secret"] : [];
      const sure = isApply(command) && !command.includes("--dry-run") ? ["--yes"] : [];
      const child = world.run([...command.split(" ").slice(1), ...secret, ...sure], variables);
      expect([command, await child.exited(), child.stderr.match(/^accesstoken: .*/gm)]).toEqual([
        command,
        0,
        null,
      ]);
      return { stdout: child.stdout, stderr: child.stderr };
    },
    key: (client: string) => readFileSync(at(`keys/${client}.key`), "utf8").trim(),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

test("one app, four environments, three back ends and two front ends take eight commands, and each program sees what the page says", async () => {
  await using t = await setup();
  const commands = COMMANDS.filter((command) => !isApply(command));
  expect(commands).toHaveLength(8);
  for (const command of commands) await t.run(command);
  const clients = ENVIRONMENTS.flatMap((name) => PROGRAMS.map((program) => `${program}-${name}`));
  const files = readdirSync(t.at("keys"));
  const wanted = [
    ...clients.map((client) => `${client}.key`),
    ...ENVIRONMENTS.map((name) => `${APP.appId}-${name}.push`),
  ];
  expect(files.toSorted()).toEqual(wanted.toSorted());
  for (const file of files)
    expect([file, statSync(t.at(`keys/${file}`)).mode & 0o777]).toEqual([file, 0o600]);
  const keys = ENVIRONMENTS.map((name) => t.key(`shop-${name}`));
  const post = async (key: string, path: string, openid = OPENID) => {
    const response = await fetch(`${t.url}/gateway/${APP.appId}${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ touser: openid, msgtype: "text", text: { content: "hi" } }),
    });
    return ((await response.json()) as { errcode?: number }).errcode ?? 0;
  };
  for (const path of ["/cgi-bin/user/get", "/cgi-bin/media/upload", "/cgi-bin/material/del_material"]) {
    const refused = await Promise.all(keys.map(async (key) => (await post(key, path)) === 48001));
    expect([path, refused]).toEqual([path, rowOf(path).map((cell) => cell === "48001")]);
  }
  const path = "/cgi-bin/message/custom/send";
  const [prod, pre, st, dev] = await Promise.all(keys.map((key) => post(key, path)));
  expect([prod, pre, st, dev]).toEqual([0, 48001, 48001, 0]);
  expect(await post(keys[3] ?? "", path, "oSomebodyElse")).toBe(48001);
  expect(rowOf(path)).toEqual(["yes", "48001", "48001", "to the test openids alone"]);
  const page = t.key("h5-dev");
  const asked = async (key: string, url: string) => {
    const answer = await fetch(t.url + url, { headers: { authorization: `Bearer ${key}` } });
    return ((await answer.json()) as { code: number }).code;
  };
  expect(await asked(page, `/AccessToken/getXcx?appid=${APP.appId}`)).toBe(403);
  expect(await asked(t.key("shop-dev"), `/AccessToken/getXcx?appid=${APP.appId}`)).toBe(0);
});

test("the page's commands may be repeated, and say what stood already; what they print is what the page shows", async () => {
  await using t = await setup();
  const shown =
    blocks
      .find(({ text }) => text.startsWith("+ environment dev"))
      ?.text.trim()
      .split("\n") ?? [];
  expect(shown.length).toBeGreaterThan(5);
  let output = "";
  for (const command of COMMANDS.filter((each) => !isApply(each))) {
    const { stdout, stderr } = await t.run(command);
    if (command.includes("add dev")) output = stdout + stderr;
  }
  const printed = output.replaceAll(
    /base URL http:\/\/localhost:\d+/g,
    "base URL http://token.internal:3000",
  );
  for (const line of shown.filter((each) => each !== "…")) expect(printed.split("\n")).toContain(line);
  for (const command of COMMANDS.filter((each) => each.includes("environments add"))) {
    const { stdout } = await t.run(command);
    expect([command, stdout]).toEqual([
      command,
      expect.stringContaining("0 to add, 0 to change, 0 to remove; "),
    ]);
  }
});

test("what the page says is done day by day works after its commands", async () => {
  await using t = await setup();
  for (const command of COMMANDS.filter((each) => !isApply(each))) await t.run(command);
  const last = tables.find((rows) => rows.some(([to]) => to === "see who used what")) ?? [];
  const daily = last.flatMap(([, cell = ""]) =>
    codeOf(cell).filter((code) => code.startsWith("accesstoken ")),
  );
  expect(daily.length).toBeGreaterThan(5);
  const lost = t.key("shop-dev").slice(0, "ats_EfhoFYh3".length);
  for (const command of daily) await t.run(command.replace("ats_EfhoFYh3", lost));
  const headers = { authorization: `Bearer ${t.key("shop-dev")}` };
  expect((await fetch(`${t.url}/v1/apps`, { headers })).status).toBe(401);
});

test("the page's file is applied as it stands, and nothing is left to do then", async () => {
  await using t = await setup();
  const [add = "", set = ""] = COMMANDS;
  for (const command of [add, set]) await t.run(command);
  t.world.write("environments.yaml", blocks.find(({ language }) => language === "yaml")?.text ?? "");
  const applies = COMMANDS.filter(isApply);
  expect(applies).toHaveLength(2);
  const [dry = "", apply = ""] = applies;
  expect((await t.run(dry)).stdout).toContain("6 to add, 0 to change, 0 to remove");
  expect((await t.run(apply)).stdout).toContain("7 to add, 0 to change, 0 to remove");
  expect((await t.run(apply)).stdout).toContain("0 to add, 0 to change, 0 to remove");
});

test("the public host's nginx is the same on both pages that show it", () => {
  const of = (path: string) => read(path).blocks.find(({ language }) => language === "nginx")?.text;
  expect(of("docs/environments.md")).toEqual(of("docs/oauth.md"));
  expect(of("docs/environments.md")).toContain("callback/");
});
