import { expect, test } from "bun:test";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createAdmin, createClient } from "../support/access-harness.ts";
import { Harness, WX } from "../support/harness.ts";
import { runCommand } from "../../src/cli/command.ts";
import { OutputFailure } from "../../src/cli/terminal.ts";
import { ManualTerminal } from "../support/manual-terminal.ts";
import { runAlone } from "./cli-harness.ts";

/** A service, and the command line of an administrator who is pointed at it. */
async function setup(environment: Record<string, string> = {}) {
  const world = await Harness.create({ environment: { ANONYMOUS: "off", ...environment } });
  const at = (name: string) => join(world.folder, name);
  writeFileSync(at("admin.key"), await createAdmin(world, "root"), { mode: 0o600 });
  const run = (line: string, options: Parameters<typeof runAlone>[1] = {}) =>
    runAlone([...line.split(" "), "--url", world.service.url, "--key-file", at("admin.key")], options);
  return {
    world,
    at,
    run,
    /** Writes a file, which `apply -f` is given. */
    file: (text: string, name = "plan.yaml") => {
      writeFileSync(at(name), text);
      return at(name);
    },
    clients: async () => (await world.administer("/v1/clients")).data["clients"] as Record<string, unknown>[],
    audited: async () =>
      ((await world.administer("/v1/audit?limit=200")).data["entries"] as { action: string }[]).length,
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

const PLAN = `environments:
  live:
    production: true
  dev: {}
clients:
  shop-live:
    environment: live
    grants:
      - apps: [${WX.appId}]
        actions: [token:read, api:call]
  shop-dev:
    environment: dev
    grants:
      - apps: [${WX.appId}]
        actions: [token:read, api:call]
    rate_limit: 20
    policy: { preset: read-only }
`;

test("a file is applied once; the second time nothing is left to do, and nothing is audited", async () => {
  await using t = await setup();
  const file = t.file(PLAN);
  const first = await t.run(`apply -f ${file} --yes --out ${t.at("keys")}`);
  expect([first.code, first.stdout]).toEqual([
    0,
    expect.stringContaining("5 to add, 0 to change, 0 to remove; 1 stand already"),
  ]);
  expect(await t.clients()).toMatchObject([
    { client: "root" },
    { client: "shop-dev", rate_limit: 20, policy: { preset: "read-only" } },
    { client: "shop-live", environment: "live", policy: { preset: "all" } },
  ]);
  const key = readFileSync(t.at("keys/shop-live.key"), "utf8").trim();
  expect(statSync(t.at("keys/shop-live.key")).mode & 0o777).toBe(0o600);
  expect(first.stdout + first.stderr).not.toContain(key);
  const answer = await t.world.get(`/v1/apps/${WX.appId}`, {}, { headers: { "x-api-key": key } });
  expect(answer.status).toBe(200);
  const before = await t.audited();
  for (const more of ["", " --dry-run", ` --yes --out ${t.at("keys")}`]) {
    const again = await t.run(`apply -f ${file}${more}`);
    expect([again.code, again.stdout]).toEqual([
      0,
      expect.stringContaining("0 to add, 0 to change, 0 to remove"),
    ]);
  }
  expect(await t.audited()).toBe(before);
});

test("a plan is printed and asked for first, and a dry run or a no changes nothing", async () => {
  await using t = await setup();
  const file = t.file(PLAN);
  const before = await t.audited();
  const dry = await t.run(`apply -f ${file} --dry-run --json`);
  expect(JSON.parse(dry.stdout)).toMatchObject({
    applied: false,
    steps: [{ action: "add", name: "live" }, {}, {}, {}],
  });
  const refused = await t.run(`apply -f ${file}`, { typed: "n" });
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("+ client shop-live")]);
  const unasked = await t.run(`apply -f ${file}`);
  expect([unasked.code, unasked.stderr]).toEqual([2, expect.stringContaining("--yes")]);
  expect(await t.audited()).toBe(before);
  expect((await t.run(`apply -f ${file}`, { typed: "y" })).code).toBe(0);
  expect(await t.clients()).toHaveLength(3);
});

test("what the file leaves out stays, and what it says is set; null removes a limit", async () => {
  await using t = await setup();
  await t.run(`apply -f ${t.file(PLAN)} --yes`);
  const changed = PLAN.replace("rate_limit: 20", "rate_limit: null").replace(
    "    production: true\n",
    "    {}\n",
  );
  const dry = await t.run(`apply -f ${t.file(changed)} --dry-run`);
  expect(dry.stdout).toContain("~ client shop-dev: rate_limit\n");
  expect(dry.stdout).toContain("= environment live\n");
  await t.run(`apply -f ${t.file(changed)} --yes`);
  const [, dev] = await t.clients();
  expect([dev?.["rate_limit"], dev?.["policy"]]).toMatchObject([undefined, { preset: "read-only" }]);
});

test("codes that a file gives stay when the environment is production no more", async () => {
  await using t = await setup();
  await t.run("environments add live --production");
  const file = t.file("environments:\n  live: { production: false, codes: raw }\n");
  expect((await t.run(`apply -f ${file} --yes`)).stdout).toContain("~ environment live: production\n");
  const live = { production: false, codes: "raw" };
  expect((await t.world.administer("/v1/environments/live")).data).toMatchObject(live);
});

test("nothing is removed but with --prune, and never who manages the service", async () => {
  await using t = await setup();
  await t.run(`apply -f ${t.file(PLAN)} --yes`);
  const less = PLAN.replace("  dev: {}\n", "").replace(/  shop-dev:\n(    .*\n)+/, "");
  const kept = await t.run(`apply -f ${t.file(less)} --yes`);
  expect(kept.stdout).toContain("? client shop-dev\n");
  expect(await t.clients()).toHaveLength(3);
  const pruned = await t.run(`apply -f ${t.file(less)} --prune --yes`);
  expect([pruned.code, pruned.stdout]).toEqual([0, expect.stringContaining("- client shop-dev\n")]);
  expect((await t.clients()).map(({ client }) => client)).toEqual(["root", "shop-live"]);
  // That of the administrator stays, too.
  const { environments } = (await t.world.administer("/v1/environments")).data;
  expect(environments).toMatchObject([{ environment: "dev" }, { environment: "live" }]);
});

test("a key is made only for a client without one, and only into a folder, where no file is replaced", async () => {
  await using t = await setup();
  const file = t.file(PLAN);
  await t.run(`apply -f ${file} --yes`);
  expect((await t.world.administer("/v1/clients/shop-dev/keys")).data["keys"]).toEqual([]);
  await t.run(`keys create shop-dev`);
  writeFileSync(t.at("shop-live.key"), "mine");
  const refused = await t.run(`apply -f ${file} --yes --out ${t.world.folder}`);
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("shop-live.key")]);
  expect(readFileSync(t.at("shop-live.key"), "utf8")).toBe("mine");
  expect((await t.run(`apply -f ${file} --yes --out ${t.at("keys")}`)).code).toBe(0);
  expect([existsSync(t.at("keys/shop-live.key")), existsSync(t.at("keys/shop-dev.key"))]).toEqual([
    true,
    false,
  ]);
});

const SECRET_LINES = [
  ["    secret: x", 'clients:\n  a:\n    environment: dev\n    grants: []\n    secret: "x"\n', 5],
  ["a Token", "callbacks:\n  wx1:\n    targets:\n      dev: { environment: dev, token: abc }\n", 4],
  ["an AES key", '{\n"callbacks":{\n"wx1":{"targets":{"dev":{"environment":"dev","aes_key":"abc"}}}}}', 3],
  ["an API key", `clients:\n  a:\n    # ats_${"0".repeat(49)}\n    environment: dev\n`, 3],
  ["an AppSecret", `environments:\n  dev: {}\n# ${WX.secret}\n`, 3],
] as const;

test.each(SECRET_LINES)(
  "P6: %s in a file is refused by its line, and never repeated",
  async (_what, text, line) => {
    await using t = await setup();
    const { code, stderr } = await t.run(`apply -f ${t.file(text)} --yes`);
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining(`plan.yaml:${line}: no secret, key or Token`),
    ]);
    expect(stderr).not.toMatch(/abc|0{49}|a1b2c3d4/);
  },
);

test.each([
  ["clients:\n  a:\n    environment: dev\n    grants: []\n    polcy: {}\n", "5: clients.a.polcy"],
  [
    "clients:\n  a:\n    environment: dev\n    grants:\n      - apps: [x]\n        actions:\n          - fly\n",
    "7: clients.a.grants.0.actions.0: must be one of view, token:read",
  ],
  ["clients:\n  a:\n    environment: dev\n    grantz: []\n", "4: clients.a.grantz: an unknown field"],
  ["clients:\n  a:\n    environment: dev\n", "2: clients.a.grants"],
  ["environments:\n  dev: {}\n  dev: {}\n", "3: environments.dev: given twice"],
  ["environments:\n  dev: { production: yes }\n", "2: environments.dev.production"],
  ["environments:\n  dev: {}\n clients: {}\n", "3: not valid YAML or JSON"],
  ["- environments\n", "1: manifest"],
  ['{"environments":{"dev":{"x":1}}}', "1: environments.dev.x"],
])("what is wrong in a file is named with its line and field: %j", async (text, where) => {
  await using t = await setup();
  const { code, stderr } = await t.run(`apply -f ${t.file(text)} --yes`);
  expect([code, stderr]).toEqual([2, expect.stringContaining(`plan.yaml:${where}`)]);
});

test("an environment is added with a client and a key for each of its programs, and may be added again", async () => {
  await using t = await setup();
  const command = `environments add dev --apps ${WX.appId} --backend shop,crm --frontend h5 --policy read-only --rate 9`;
  const added = await t.run(`${command} --out ${t.at("keys")}`);
  expect([added.code, added.stdout]).toEqual([
    0,
    expect.stringContaining(`shop-dev: base URL ${t.world.service.url}, key ${t.at("keys/shop-dev.key")}`),
  ]);
  const backend = ["token:read", "ticket:read", "ticket:sign", "login", "api:call", "callback:receive"];
  const of = (actions: readonly string[]) => [{ apps: [WX.appId], actions }];
  const dev = { environment: "dev", delivery: "virtual", rate_limit: 9 };
  expect((await t.clients()).filter(({ client }) => client !== "root")).toMatchObject([
    { client: "crm-dev", ...dev, grants: of(backend), policy: { preset: "read-only" } },
    { client: "h5-dev", ...dev, grants: of(["ticket:sign"]) },
    { client: "shop-dev", ...dev, grants: of(backend), policy: { preset: "read-only" } },
  ]);
  const before = await t.audited();
  const again = await t.run(`${command} --out ${t.at("keys")}`);
  expect([again.code, again.stdout]).toEqual([
    0,
    expect.stringContaining("0 to add, 0 to change, 0 to remove"),
  ]);
  expect(await t.audited()).toBe(before);
  const more = await t.run(`${command.replace("shop,crm", "shop,crm,erp")} --out ${t.at("keys")}`);
  expect(more.stdout.split("\n").filter((line) => line.startsWith("+"))).toEqual([
    "+ client erp-dev",
    "+ key of erp-dev",
  ]);
});

test("what may do more than sign is no front end, and whose key was revoked gets no other by itself", async () => {
  await using t = await setup();
  const add = (rest: string) => t.run(`environments add dev --apps ${WX.appId} ${rest}`);
  const both = await add("--backend shop --frontend h5,shop");
  expect([both.code, both.stderr]).toEqual([2, expect.stringContaining("shop is in --backend, too")]);
  expect(await t.clients()).toHaveLength(1);
  await add("--backend shop");
  const keysOf = async () =>
    (await t.world.administer("/v1/clients/shop-dev/keys")).data["keys"] as { key: string; state: string }[];
  await t.run(`keys revoke ${(await keysOf())[0]?.key}`);
  const page = await add("--frontend shop");
  expect([page.code, page.stderr]).toEqual([2, expect.stringContaining("its key must be in no page")]);
  const again = await add("--backend shop");
  expect([again.code, again.stderr]).toEqual([
    0,
    expect.stringContaining("accesstoken keys create shop-dev"),
  ]);
  const file = PLAN.replace(/  shop-live:\n(    .*\n)+?(?=  shop-dev)/, "");
  const applied = await t.run(`apply -f ${t.file(file)} --yes --out ${t.at("keys")}`);
  expect([applied.code, applied.stdout]).toEqual([
    0,
    expect.stringContaining("? key of shop-dev: revoked\n"),
  ]);
  expect(await keysOf()).toMatchObject([{ state: "revoked" }]);
});

test("without a folder each new key is printed once, and production is what its name or the operator says", async () => {
  await using t = await setup();
  const shown = await t.run(`environments add live --production --apps all --backend shop`);
  const [key = ""] = /ats_\w{49}/.exec(shown.stdout) ?? [];
  const answer = await t.world.get(`/v1/apps/${WX.appId}`, {}, { headers: { "x-api-key": key } });
  expect(answer.status).toBe(200);
  expect(await t.clients()).toMatchObject([{}, { client: "shop-live", policy: { preset: "all" } }]);
  const json = await t.run(`environments add st --apps all --backend shop --json`);
  expect(JSON.parse(json.stdout)).toMatchObject({
    environment: "st",
    keys: [{ name: "shop-st", api_key: expect.stringMatching(/^ats_\w{49}$/) }],
  });
});

test("what stands otherwise is left as it is and said, and a client of another environment is refused before anything is made", async () => {
  await using t = await setup();
  await t.run(`clients add shop-dev --environment dev --apps ${WX.appId} --actions ticket:sign`);
  const { code, stderr } = await t.run(`environments add dev --production --apps ${WX.appId} --backend shop`);
  expect(code).toBe(0);
  expect(stderr).toContain("dev is there already with other settings");
  expect(stderr).toContain("accesstoken clients grant shop-dev --apps");
  const [, shop] = await t.clients();
  expect(shop).toMatchObject({ grants: [{ actions: ["ticket:sign"] }] });
  await t.run(`clients add crm-pre --environment other --apps ${WX.appId} --actions ticket:sign`);
  const refused = await t.run(`environments add pre --apps ${WX.appId} --backend shop,crm`);
  expect([refused.code, refused.stderr]).toEqual([
    2,
    expect.stringContaining("crm-pre is there, of the environment other"),
  ]);
  expect((await t.world.administer("/v1/environments/pre")).status).toBe(404);
});

test("redirect origins are added and, by a file with --prune, taken away; a note says where the links go", async () => {
  await using t = await setup({ PUBLIC_URL: "https://wx.example.com" });
  const command = `environments add dev --apps ${WX.appId} --frontend h5 --redirect-origin`;
  const { stdout, stderr } = await t.run(
    `${command} https://dev.example.com,https://*.dev.example.com --redirect-origin https://h5.example.com/app`,
  );
  expect(stdout).toContain(`+ redirect origins of ${WX.appId} dev`);
  expect(stderr).toContain(`web logins of ${WX.appId}: https://wx.example.com in the place of`);
  expect(stderr).toContain("accesstoken cors add https://h5.example.com");
  // A page sends neither a path nor a wildcard.
  const h5 = (await t.clients()).find(({ client }) => client === "h5-dev");
  expect(h5?.["origins"]).toEqual(["https://dev.example.com", "https://h5.example.com"]);
  const originsOf = async () => {
    const { data } = await t.world.administer(`/v1/apps/${WX.appId}/redirect-origins`);
    return (data["environments"] as { redirect_origins: string[] }[])[0]?.redirect_origins.toSorted();
  };
  const all = ["https://*.dev.example.com", "https://dev.example.com", "https://h5.example.com/app"];
  expect(await originsOf()).toEqual(all);
  const text = `redirect_origins:\n  ${WX.appId}:\n    dev: [https://dev.example.com, https://new.example.com]\n`;
  await t.run(`apply -f ${t.file(text)} --yes`);
  expect(await originsOf()).toEqual([...all, "https://new.example.com"]);
  const pruned = await t.run(`apply -f ${t.file(text)} --prune --yes`);
  expect(pruned.stdout).toContain("-https://h5.example.com/app");
  expect(await originsOf()).toEqual(["https://dev.example.com", "https://new.example.com"]);
  const gone = await t.run(`apply -f ${t.file(`redirect_origins: { ${WX.appId}: {} }`)} --prune --yes`);
  expect([gone.stdout, await originsOf()]).toEqual([
    expect.stringContaining("0 to change, 1 to remove"),
    undefined,
  ]);
});

test("an origin that is removed, or added, while the person reads the plan stays so", async () => {
  await using t = await setup();
  const path = `/v1/apps/${WX.appId}/redirect-origins`;
  const put = (list: readonly string[]) => {
    const body = JSON.stringify({ redirect_origins: list });
    return t.world.administer(`${path}/dev`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body,
    });
  };
  await t.run("environments add dev");
  await put(["https://a.example.com", "https://lost.example.com", "https://old.example.com"]);
  const text = `redirect_origins:\n  ${WX.appId}:\n    dev: [https://lost.example.com, https://a.example.com, https://new.example.com]\n`;
  const ask = async () => {
    await put(["https://a.example.com", "https://old.example.com", "https://b.example.com"]);
    return "y";
  };
  const line = `apply -f ${t.file(text)} --prune --url ${t.world.service.url} --key-file ${t.at("admin.key")}`;
  const terminal = Object.assign(new ManualTerminal({ typed: "y" }), { ask });
  expect([await runCommand(line.split(" "), terminal), terminal.stderr]).toEqual([
    0,
    expect.stringContaining("https://new.example.com, -https://old.example.com"),
  ]);
  const { environments } = (await t.world.administer(path)).data;
  expect((environments as { redirect_origins: string[] }[])[0]?.redirect_origins.toSorted()).toEqual([
    "https://a.example.com",
    "https://b.example.com",
    "https://new.example.com",
  ]);
});

test("what fails halfway shows what was done, and not all that was planned", async () => {
  await using t = await setup();
  const origins = (environment: string) =>
    `redirect_origins:\n  ${WX.appId}:\n    ${environment}: [https://a.example.com]\n`;
  await t.run("environments add dev");
  await t.run(`apply -f ${t.file(origins("dev"))} --yes`);
  const file = t.file(PLAN + origins("live"));
  // An origin is of one environment alone. The refusal is a document of its own.
  const { code, stdout } = await t.run(`apply -f ${file} --yes --json --out ${t.at("keys")}`);
  expect(code).toBe(1);
  const { applied, steps, keys } = JSON.parse(stdout.replace(/(?<=\n})\n{[^]*/, "")) as {
    applied: boolean;
    steps: object[];
    keys: object[];
  };
  expect([applied, keys]).toEqual([false, []]);
  expect(steps.filter((each) => "action" in each && each.action === "add")).toEqual([
    { action: "add", kind: "environment", name: "live", detail: "production, raw" },
    { action: "add", kind: "client", name: "shop-live" },
    { action: "add", kind: "client", name: "shop-dev" },
  ]);
});

test("a plan says which environment comes with a client, and that it is production", async () => {
  await using t = await setup();
  const clients = PLAN.slice(PLAN.indexOf("clients:")).replace("environment: live", "environment: Online");
  const { code, stdout } = await t.run(`apply -f ${t.file(clients)} --yes`);
  expect([code, stdout]).toEqual([
    0,
    expect.stringMatching(/^\+ environment Online \(production, raw\)\n\+ client shop-live\n/),
  ]);
  const made = (await t.world.administer("/v1/audit?action=environment.created")).data["entries"];
  expect(made).toMatchObject([{ detail: { of: "Online" } }]);
  const again = await t.run(`apply -f ${t.file(clients)} --prune --dry-run`);
  expect(again.stdout).toContain("0 to add, 0 to change, 0 to remove; 2 stand already");
});

test("a plan says what grants become", async () => {
  await using t = await setup();
  await t.run(`apply -f ${t.file(PLAN)} --yes`);
  const { stdout } = await t.run(`apply -f ${t.file(PLAN.replace("api:call", "login"))} --dry-run`);
  expect(stdout).toContain(`~ client shop-live: grants (${WX.appId}: token:read,login)\n`);
});

test("an origin that is none is refused before anything is made, and one with a slash is the same without", async () => {
  await using t = await setup();
  const of = (origin: string) => `${PLAN}redirect_origins:\n  ${WX.appId}:\n    dev:\n      - ${origin}\n`;
  const file = await t.run(`apply -f ${t.file(of("https://*.com"))} --yes`);
  expect([file.code, file.stderr]).toEqual([
    2,
    expect.stringContaining(`plan.yaml:21: redirect_origins.${WX.appId}.dev.0: must be an origin`),
  ]);
  const added = await t.run(
    `environments add live --apps ${WX.appId} --backend shop --redirect-origin dev.example.com`,
  );
  expect([added.code, added.stderr]).toEqual([
    2,
    expect.stringContaining("--redirect-origin: must be an origin"),
  ]);
  expect(await t.clients()).toHaveLength(1);
  const slash = t.file(of("https://dev.example.com/app/"));
  await t.run(`apply -f ${slash} --yes`);
  const again = await t.run(`apply -f ${slash} --prune --dry-run`);
  expect(again.stdout).toContain("0 to add, 0 to change, 0 to remove");
});

test("keys that can be shown nowhere are revoked", async () => {
  await using t = await setup();
  const print = () => Promise.reject(new OutputFailure("ENOSPC"));
  const line = `environments add dev --apps ${WX.appId} --backend shop --url ${t.world.service.url} --key-file ${t.at("admin.key")}`;
  const terminal = Object.assign(new ManualTerminal({}), { print });
  expect(await runCommand(line.split(" "), terminal)).toBe(1);
  expect((await t.world.administer("/v1/clients/shop-dev/keys")).data["keys"]).toMatchObject([
    { state: "revoked" },
  ]);
});

/** What `/v1` shows of where the app's pushes go. */
async function pushesOf({ world }: Awaited<ReturnType<typeof setup>>) {
  const { data } = await world.administer(`/v1/apps/${WX.appId}/callbacks`);
  return data as { targets: Record<string, unknown>[]; routes: Record<string, unknown>[] };
}

/** Sets the app's pushes up, with a Token and a key of their own. */
async function setUpPushes({ world }: Awaited<ReturnType<typeof setup>>): Promise<void> {
  const headers = { "content-type": "application/json" };
  await world.administer(`/v1/apps/${WX.appId}/callbacks`, { method: "PUT", headers, body: "{}" });
}

test("pushes go to production first, the others get copies, and a tester's are answered by the environment that names them", async () => {
  await using t = await setup();
  await setUpPushes(t);
  const add = (name: string, more: string) =>
    t.run(`environments add ${name} --apps ${WX.appId} ${more} --out ${t.at(name)}`);
  await add("prod", "--target https://api.example.com/wx/$APPID$");
  await add("st", "--target https://st.example.com/wx");
  const dev = "--target pull --test-openids oLVPpjqs9BhvzwPj5A-vTYAX3GLc";
  const added = await add("dev", dev);
  expect(added.stdout).toContain(
    `pushes of ${WX.appId} dev: Token and key ${t.at(`dev/${WX.appId}-dev.push`)}`,
  );
  expect(await pushesOf(t)).toMatchObject({
    targets: [
      { target: "dev", environment: "dev" },
      { target: "prod", environment: "prod", url: "https://api.example.com/wx/$APPID$" },
      { target: "st", environment: "st", url: "https://st.example.com/wx" },
    ],
    routes: [
      { target: "dev", role: "primary", openids: ["oLVPpjqs9BhvzwPj5A-vTYAX3GLc"] },
      { target: "prod", role: "primary" },
      { target: "st", role: "copy" },
      { target: "dev", role: "copy" },
    ],
  });
  const path = t.at(`prod/${WX.appId}-prod.push`);
  expect(readFileSync(path, "utf8")).toMatch(/^TOKEN=\w{3,32}\nENCODING_AES_KEY=\w{43}\n$/);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const before = [await pushesOf(t), await t.audited()];
  expect((await add("dev", dev)).stdout).toContain("0 to add, 0 to change, 0 to remove");
  const otherwise = await add("st", "--target https://elsewhere.example.com/wx");
  expect(otherwise.stderr).toContain(`${WX.appId} st is there already with other settings`);
  expect([await pushesOf(t), await t.audited()]).toEqual(before);
  const removed = await t.run("environments remove st --yes");
  expect([removed.code, removed.stderr]).toEqual([1, expect.stringContaining("(targets of pushes: 1)")]);
});

test("a target for an app whose pushes are not set up is refused before anything is made, with what sets them up", async () => {
  await using t = await setup();
  const { code, stderr } = await t.run(
    `environments add prod --apps ${WX.appId} --backend shop --target https://api.example.com/wx`,
  );
  expect([code, stderr]).toEqual([1, expect.stringContaining(`accesstoken callbacks set ${WX.appId}`)]);
  expect((await t.world.administer("/v1/environments/prod")).status).toBe(404);
});

const PUSHES = `callbacks:
  ${WX.appId}:
    targets:
      prod: { environment: prod, url: "https://api.example.com/wx" }
      dev: { environment: dev }
    routes:
      - { target: dev, role: primary, openids: [oTester0000000000000000000001] }
      - { target: prod, role: primary }
`;

test("a file sets targets and routes; what it has no more stays behind its own, and goes with --prune", async () => {
  await using t = await setup();
  await setUpPushes(t);
  const keyless = await t.run(`apply -f ${t.file(PUSHES)} --yes`);
  expect([keyless.code, keyless.stderr]).toEqual([2, expect.stringContaining("give --out")]);
  await t.run(`apply -f ${t.file(PUSHES)} --yes --out ${t.at("keys")}`);
  const again = await t.run(`apply -f ${t.file(PUSHES)}`);
  expect(again.stdout).toContain("0 to add, 0 to change, 0 to remove; 3 stand already");
  const less = PUSHES.replace(/      dev: .*\n/, "")
    .replace(/.*oTester.*\n/, "")
    .replace("/wx", "/new");
  const kept = await t.run(`apply -f ${t.file(less)} --yes`);
  expect(kept.stdout).toContain(
    `~ target ${WX.appId} prod: url\n~ routes of ${WX.appId}\n? target ${WX.appId} dev\n`,
  );
  expect(await pushesOf(t)).toMatchObject({
    targets: [{ target: "dev" }, { target: "prod", url: "https://api.example.com/new" }],
    routes: [{ target: "prod" }, { target: "dev", openids: ["oTester0000000000000000000001"] }],
  });
  await t.run(`apply -f ${t.file(less)} --yes --prune`);
  expect(await pushesOf(t)).toMatchObject({ targets: [{ target: "prod" }], routes: [{ target: "prod" }] });
  expect((await pushesOf(t)).targets).toHaveLength(1);
});

test("who may manage pushes and web logins of an app alone applies a file of those, and of nothing else", async () => {
  await using t = await setup();
  await setUpPushes(t);
  await t.run("environments add dev");
  await t.run("environments add prod");
  const actions = ["callback:manage", "oauth:manage"] as const;
  const key = await createClient(t.world, { name: "pushes", grants: [{ apps: [WX.appId], actions }] });
  writeFileSync(t.at("pushes.key"), key, { mode: 0o600 });
  const apply = (text: string) => {
    const asked = `apply -f ${t.file(text)} --yes --out ${t.at("keys")} --url ${t.world.service.url}`;
    return runAlone([...asked.split(" "), "--key-file", t.at("pushes.key")]);
  };
  const text = `${PUSHES}redirect_origins:\n  ${WX.appId}:\n    dev: [https://dev.example.com]\n`;
  const applied = await apply(text);
  expect([applied.code, applied.stdout]).toEqual([0, expect.stringContaining("4 to add")]);
  const refused = await apply(PLAN);
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("code 403")]);
});
