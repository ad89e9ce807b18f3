import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Answering, CliHarness } from "./cli-harness.ts";

const APP = "wx0000000000000001";
const DEV = { environment: "dev", codes: "relay", version: 3, redirect_origins: ["https://dev.example.com"] };

/** A service whose app has redirect origins in `dev`, and one verification file. */
const withDev: Answering = ({ path, body }) => {
  if (path.startsWith("/v1/verify-files")) return { verify_files: ["MP_verify_a1.txt"] };
  const { redirect_origins = DEV.redirect_origins } = (body ?? {}) as Partial<typeof DEV>;
  return {
    app: APP,
    return_url: "https://wx.example.com/connect/return",
    environments: [{ ...DEV, redirect_origins }],
  };
};

test("redirect origins are added to and removed from those that are there", async () => {
  await using world = new CliHarness(withDev);
  const list = await world.run(["origins", "list", APP]);
  expect(list.stdout).toMatch(
    /^ENVIRONMENT +CODES +REDIRECT ORIGIN\ndev +relay +https:\/\/dev\.example\.com\n$/,
  );
  const more = "http://localhost:8080,https://dev.example.com";
  await world.run(["origins", "add", APP, "dev", "--redirect-origin", more]);
  await world.run(["origins", "add", APP, "st", "--redirect-origin", "https://st.example.com"]);
  await world.run(["origins", "remove", APP, "dev", "--redirect-origin", "https://dev.example.com"]);
  const sent = world.arrived.filter(({ method }) => method === "PUT");
  expect(sent.map(({ path, body }) => [path, body])).toEqual([
    [
      `/v1/apps/${APP}/redirect-origins/dev`,
      { redirect_origins: ["https://dev.example.com", "http://localhost:8080"] },
    ],
    [`/v1/apps/${APP}/redirect-origins/st`, { redirect_origins: ["https://st.example.com"] }],
    [`/v1/apps/${APP}/redirect-origins/dev`, { redirect_origins: [] }],
  ]);
  expect((await world.run(["origins", "add", APP, "dev"])).code).toBe(2);
});

test("a file names an account of a platform by either of its names, and not by both", async () => {
  const [account, name] = ["wxa000000000000001", "wxa000000000000001_wxc000000000000001"];
  await using world = new CliHarness(() => ({ app: name, environments: [DEV] }));
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-origins-"));
  const apply = (...names: readonly string[]) => {
    const lists = names.map((each) => `  ${each}: { dev: ["https://new.example.com"] }\n`).join("");
    writeFileSync(join(folder, "plan.yaml"), `redirect_origins:\n${lists}`);
    return world.run(["apply", "--file", join(folder, "plan.yaml"), "--yes"]);
  };
  for (const each of [account, name])
    expect((await apply(each)).stdout).toContain(
      `~ redirect origins of ${name} dev: https://new.example.com`,
    );
  const sent = world.arrived.filter(({ method }) => method === "PUT");
  expect(sent.map(({ path }) => path)).toEqual(Array(2).fill(`/v1/apps/${name}/redirect-origins/dev`));
  expect(await apply(account, name)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("both of its"),
  });
  rmSync(folder, { recursive: true, force: true });
});

test("a verification file is sent under its own name, as it is", async () => {
  await using world = new CliHarness(withDev);
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-verify-"));
  writeFileSync(join(folder, "MP_verify_a1.txt"), "a1b2\n");
  const put = await world.run(["domains", "verify-file", join(folder, "MP_verify_a1.txt")]);
  expect(put.stdout).toBe("FILE\nMP_verify_a1.txt\n");
  await world.run(["domains", "remove", "MP_verify_a1.txt"]);
  expect(world.arrived.map(({ method, path, body }) => [method, path, body])).toEqual([
    ["PUT", "/v1/verify-files/MP_verify_a1.txt", { content: "a1b2\n" }],
    ["DELETE", "/v1/verify-files/MP_verify_a1.txt", undefined],
  ]);
  expect((await world.run(["domains", "verify-file", join(folder, "none.txt")])).code).toBe(2);
  rmSync(folder, { recursive: true, force: true });
});
