import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { WX } from "../support/harness.ts";
import { binary, ProcessHarness } from "../support/process-harness.ts";
import { codeOf, read } from "./document.ts";

const { blocks, tables } = read("docs/environments.md");
const ENVIRONMENTS = ["prod", "pre", "st", "dev"];
const OPENID = "oLVPpjqs9BhvzwPj5A-vTYAX3GLc";

/** The commands of the page that make something, with the test's app, and this machine in the place of the office. */
const COMMANDS = blocks
  .filter(({ language }) => language === "console")
  .flatMap(({ text }) => text.trim().split("\n"))
  .filter((line) => /^accesstoken (clients add|keys create .*(?<!-new)\.key)/.test(line))
  .map((line) => line.replaceAll("wx0123456789abcdef", WX.appId).replaceAll("10.0.0.0/8", "127.0.0.0/8"));

/** What the page says of a path: the cells of its row, one for each environment. */
function rowOf(path: string): string[] {
  const row = tables.flat().find((cells) => codeOf(cells[0] ?? "").includes(path));
  if (row === undefined) throw new Error(`${path} has no row`);
  return row.slice(1);
}

test("each of the four environments sees what the walkthrough says", async () => {
  await using world = new ProcessHarness(binary());
  const { url } = await world.serve({ ANONYMOUS: "off" });
  for (const command of COMMANDS) {
    const child = world.run(command.split(" ").slice(1), world.variables);
    expect([command, await child.exited()]).toEqual([command, 0]);
  }
  const keys = ENVIRONMENTS.map((name) =>
    readFileSync(join(world.folder, `shop-${name}.key`), "utf8").trim(),
  );
  const post = async (key: string, path: string, openid = OPENID) => {
    const response = await fetch(`${url}/gateway/${WX.appId}${path}`, {
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
});
