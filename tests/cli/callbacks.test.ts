import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "../../src/cli/command.ts";
import { checkQuery } from "../../src/callbacks/push-reply.ts";
import type { PushKey } from "../../src/callbacks/push-crypto.ts";
import { Secret } from "../../src/secret.ts";
import { Receiver, textPush, textReply } from "../callbacks/push-world.ts";
import { createAdmin } from "../support/access-harness.ts";
import { CORP, Harness, WECOM, type WorldOptions, WX } from "../support/harness.ts";
import { addAuthorized, COMPONENT, PROVIDER, SHOP, SUITE } from "../support/platforms.ts";
import { type HandTerminalOptions, ManualTerminal } from "../support/manual-terminal.ts";
import { answered, CliHarness, runAlone } from "./cli-harness.ts";

const APP = WX.appId;
const PUBLIC_URL = "https://wx.example.com";

/** What the commands print as JSON. */
interface Shown {
  readonly token?: string;
  readonly aes_key?: string;
  readonly receive_ids?: string[];
  readonly targets: readonly { readonly pulled_at?: number }[];
  readonly routes: readonly object[];
  readonly deliveries: readonly { readonly id: number }[];
}

/** A running service, the command line that asks it as an administrator, and WeChat that pushes to it. */
async function setup(options: Pick<WorldOptions, "pushAnswerMs"> = {}) {
  const environment = { PUBLIC_URL, CALLBACK_NETWORKS: "127.0.0.0/8" };
  const world = await Harness.create({ environment, ...options });
  const file = (name: string, text: string): string => {
    const path = join(world.folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const keyFile = file("admin-key", await createAdmin(world));
  const run = (line: string, options: HandTerminalOptions = {}) =>
    runAlone(["callbacks", ...line.split(" "), "--url", world.service.url, "--key-file", keyFile], options);
  /** A tail under way, whose terminal can be looked at. */
  const tail = (line: string, options: HandTerminalOptions = {}) => {
    const terminal = new ManualTerminal(options);
    const words = ["callbacks", "tail", ...line.split(" "), "--url", world.service.url];
    return { terminal, ended: runCommand([...words, "--key-file", keyFile], terminal) };
  };
  const data = async (line: string) => JSON.parse((await run(`${line} --json`)).stdout) as Shown;
  /** Sets the app up, and gives what WeChat signs with. */
  const begin = async (): Promise<Required<PushKey> & { encodingAesKey: Secret }> => {
    const { token, aes_key: aesKey } = await data(`set ${APP}`);
    return { token: new Secret(String(token)), encodingAesKey: new Secret(String(aesKey)) };
  };
  const push = (key: PushKey, content = "hello", openid = "oUser1") => {
    const { query, body } = textPush({ now: world.clock.now(), key, content, openid });
    return fetch(`${world.service.url}/callback/${APP}?${query}`, { method: "POST", body });
  };
  const check = (key: PushKey) => {
    const query = checkQuery("weixin", { key, receiveId: APP, echo: "echo" }, world.clock.now());
    return fetch(`${world.service.url}/callback/${APP}?${query}`);
  };
  return {
    world,
    file,
    run,
    tail,
    data,
    begin,
    push,
    check,
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

/** Does `step` again and again until `promise` has resolved. */
async function meanwhile<T>(promise: Promise<T>, step: () => unknown): Promise<T> {
  let isDone = false;
  void promise.finally(() => (isDone = true));
  await Harness.until(async () => {
    if (!isDone) await step();
    return isDone;
  });
  return promise;
}

/** Ends a command that goes on until somebody presses Ctrl+C. */
function pressCtrlC(): void {
  process.emit("SIGINT");
}

test("set tells once what to enter in the console, in the reader's language", async () => {
  await using t = await setup();
  const made = await t.run(`set ${APP}`, { language: "zh" });
  expect(made.code).toBe(0);
  expect(made.stdout).toMatch(
    new RegExp(
      `^URL +${PUBLIC_URL}/callback/${APP}\nToken +\\w{32}\nEncodingAESKey +\\w{43}\n加解密方式 +安全模式\n数据格式 +XML\n$`,
    ),
  );
  expect(made.stderr).toContain("设置与开发 → 基本配置 → 服务器配置");
  expect(made.stderr).toContain("不会再次显示");
  const again = await t.run(`set ${APP} --mode plain`);
  expect(again.stdout).not.toContain("EncodingAESKey");
  expect(again.stderr).toContain("whoever sees the URL of one request can forge messages");
  const wecom = await t.run(`set ${CORP}_${WECOM.agent}`);
  expect(wecom.stderr).toContain("设置API接收");
});

test("set tells both URLs of a third-party platform, and whom its pushes are meant for by what it is", async () => {
  await using t = await setup();
  const add = (body: object) =>
    t.world.administer("/v1/platforms", {
      ...{ method: "POST", headers: { "content-type": "application/json" } },
      body: JSON.stringify(body),
    });
  await add({ kind: "component", ...COMPONENT });
  await add({ kind: "suite", ...SUITE, provider: PROVIDER.id });
  const component = await t.run(`set ${COMPONENT.id}`, { language: "zh" });
  expect(component.stdout).toContain(
    `\n消息与事件接收URL  ${PUBLIC_URL}/callback/${COMPONENT.id}/$APPID$\nToken`,
  );
  expect(component.stdout).toStartWith(`授权事件接收URL    ${PUBLIC_URL}/callback/${COMPONENT.id}/auth\n`);
  expect(component.stderr).toContain("第三方平台 → 详情 → 开发配置");
  const suite = await t.run(`set ${SUITE.id}`);
  for (const url of [`${SUITE.id}/auth`, `${SUITE.id}/$CORPID$`])
    expect(suite.stdout).toContain(`${PUBLIC_URL}/callback/${url}\n`);
  expect(suite.stderr).toContain("回调配置");
  expect(await t.data(`show ${COMPONENT.id}`)).toMatchObject({ receive_ids: [COMPONENT.id] });
  expect(await t.data(`show ${SUITE.id}`)).toMatchObject({ receive_ids: [SUITE.id, PROVIDER.id] });
  for (const wrong of ["--mode plain", "--mode compat", "--format json"]) {
    const { code, stderr } = await t.run(`set ${COMPONENT.id} ${wrong}`);
    expect([code, stderr]).toEqual([1, expect.stringContaining("always encrypted XML")]);
  }
});

test("set tells of an account that its platform receives its pushes, and takes it by its AppID alone", async () => {
  await using t = await setup();
  const name = await addAuthorized(t.world, SHOP, COMPONENT.id);
  let first = await t.run(`set ${SHOP}`);
  await Harness.until(async () => {
    if (first.code === 0) return true;
    t.world.clock.advance(100);
    first = await t.run(`set ${SHOP}`);
    return false;
  });
  const shown = await t.run(`set ${SHOP}`);
  expect(shown.stdout).toContain(`${PUBLIC_URL}/callback/${COMPONENT.id}/${SHOP}\n`);
  expect(shown.stderr).toContain("There is nothing to enter");
  expect(first.stdout).not.toMatch(/Token|EncodingAESKey|mode/);
  const refused = await t.run(`set ${SHOP} --receive-id ${SHOP}`);
  expect([refused.code, refused.stderr]).toEqual([
    1,
    expect.stringContaining(`accesstoken callbacks set ${COMPONENT.id}`),
  ]);
  expect((await t.run(`rotate ${SHOP}`)).stderr).toContain(`accesstoken callbacks set ${COMPONENT.id}`);
  expect((await t.run(`show ${SHOP}`)).stdout).not.toMatch(/receive ids|mode|checked/);
  expect((await t.run(`target ${SHOP} dev --environment dev --route`)).code).toBe(0);
  expect(await t.data(`show ${name}`)).toMatchObject({
    ...{ app: name, platform_app: COMPONENT.id },
    routes: [{ target: "dev" }],
  });
});

test("set takes the Token and key in use from files, and neither is an argument or shown", async () => {
  await using t = await setup();
  const files = `--token-file ${t.file("token", "inUse123\n")} --aes-key-file ${t.file("key", `${"k".repeat(43)}\n`)}`;
  const set = await t.run(`set ${APP} ${files} --receive-id ${APP} --receive-id wx2 --format json`);
  expect([set.code, set.stdout]).toEqual([0, expect.not.stringMatching(/inUse|kkkk/)]);
  expect(await t.data(`show ${APP}`)).toMatchObject({ receive_ids: [APP, "wx2"], format: "json" });
  const wrong = await t.run(`set ${APP} --token-file ${t.file("bad", "with-hyphen")}`);
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("3 to 32 letters and digits")]);
  expect(wrong.stderr).not.toContain("hyphen");
});

test("set --wait says so once WeChat has checked the URL", async () => {
  await using t = await setup();
  const key = await t.begin();
  const { code, stderr } = await meanwhile(t.run(`set ${APP} --wait 10m`), () => {
    // A check is noted once in five seconds.
    t.world.clock.advance(6000);
    return t.check(key);
  });
  expect([code, stderr]).toEqual([0, expect.stringContaining("WeChat has checked the URL at")]);
  expect((await t.run(`show ${APP}`)).stdout).toMatch(/checked +2\d{3}-/);
  expect((await t.run("list")).stdout).toContain(APP);
});

test("a rotation is finished by its own command, which asks where WeChat may not have the new Token yet", async () => {
  await using t = await setup();
  const old = await t.begin();
  const rotated = await t.run(`rotate ${APP} --only token`);
  expect(rotated.stdout).toMatch(/Token +\w{32}\n/);
  expect(rotated.stdout).not.toContain("EncodingAESKey");
  expect(rotated.stderr).toContain(`accesstoken callbacks finish ${APP}`);
  expect((await t.check(old)).status).toBe(200);
  const asked = await t.run(`finish ${APP}`, { typed: "n" });
  expect([asked.code, asked.questions[0]]).toEqual([1, expect.stringContaining("has not checked the URL")]);
  expect((await t.run(`finish ${APP} --yes`)).code).toBe(0);
  expect((await t.check(old)).status).toBe(403);
});

test("a target is added with its route by one command, and a tester's route comes before the one for all", async () => {
  await using t = await setup();
  await t.begin();
  const prod = await t.run(`target ${APP} prod --to https://prod.example/$APPID$ --route`);
  expect([prod.code, prod.stdout]).toEqual([
    0,
    expect.stringMatching(/environment +prod\n.*\n.*\nToken +\w{32}/),
  ]);
  const dev = await t.run(`target ${APP} dev --content decrypted --route --openid oMe,oYou`);
  expect(dev.stdout).toMatch(/url +\(pull\)\ncontent +decrypted\nHMAC key +[0-9a-f]{64}\n/);
  await t.run(`route ${APP} dev --copy --type event --event-key menu_*`);
  await t.run(`route ${APP} dev --copy --type event --event-key menu_*`);
  const { routes } = await t.data(`show ${APP}`);
  expect(routes).toEqual([
    { target: "dev", role: "primary", openids: ["oMe", "oYou"] },
    { target: "dev", role: "copy", types: ["event"], event_keys: ["menu_*"] },
    { target: "prod", role: "primary" },
  ]);
  expect((await t.run(`remove-route ${APP} 2`)).stdout).not.toContain("menu_");
  expect((await t.run(`remove-route ${APP} 9`)).code).toBe(2);
  const lone = await t.run(`target ${APP} st --environment st`);
  expect(lone.stderr).toContain(`accesstoken callbacks route ${APP} st`);
  expect((await t.run(`target ${APP} st --openid oMe`)).code).toBe(2);
  expect((await t.run(`remove-target ${APP} dev`, { typed: "y" })).questions).toHaveLength(1);
  expect((await t.data(`show ${APP}`)).routes).toEqual([{ target: "prod", role: "primary" }]);
});

test("tail prints each push on a line, hands it to a local program, and WeChat gets that program's reply", async () => {
  await using t = await setup();
  await using local = new Receiver(({ body }) => (body.includes("hello") ? textReply("hi") : undefined));
  const key = await t.begin();
  await t.run(`target ${APP} dev --content decrypted --route`);
  const { terminal, ended } = t.tail(`${APP} --forward ${local.url}/$APPID$?a=1`);
  // Until somebody pulls, the next primary is taken, and there is none.
  await Harness.until(async () => (await t.data(`show ${APP}`)).targets[0]?.pulled_at !== undefined);
  const replied = await t.push(key);
  expect([replied.status, await replied.text()]).toEqual([200, expect.stringContaining("<Encrypt>")]);
  expect(await (await t.push(key, "bye")).text()).toBe("success");
  await Harness.until(() => terminal.stdout.split("\n").length === 3);
  pressCtrlC();
  const code = await ended;
  const { stdout, stderr } = terminal;
  expect([code, stderr]).toEqual([0, expect.stringContaining(`Waiting for pushes of ${APP} → ${local.url}`)]);
  expect(stdout).toMatch(
    /^\d\d:\d\d:\d\d {2}dev {2}text {2}oUser1 {2}hello {2}→ 200 \(\d+ ms\) replied\n\d.* bye {2}→ 200 \(\d+ ms\)\n$/,
  );
  expect(
    local.arrived.map(({ url, headers }) => [
      url.pathname + url.search,
      headers.get("x-accesstoken-signature"),
    ]),
  ).toEqual([0, 1].map(() => [`/wx/${APP}?a=1`, expect.stringMatching(/^t=\d+,v1=[0-9a-f]{64}$/)]));
});

test("tail shows who has sent what, also where the target is sent it under a key of its own", async () => {
  await using t = await setup();
  const key = await t.begin();
  await t.run(`target ${APP} dev --route --copy`);
  await t.push(key, `hello ${"🙂".repeat(40)}`);
  const { terminal, ended } = t.tail(APP);
  await Harness.until(() => terminal.stdout.includes("\n"));
  pressCtrlC();
  await ended;
  expect(terminal.stdout.slice(10)).toBe(`dev  text  oUser1  hello ${"🙂".repeat(34)}…\n`);
});

test("what the local program does not take is not acknowledged, and its line says that it comes again", async () => {
  await using t = await setup({ pushAnswerMs: 500 });
  const gone = new Receiver();
  const { url } = gone;
  await gone[Symbol.asyncDispose]();
  const key = await t.begin();
  await t.run(`target ${APP} dev --content decrypted --route`);
  const { terminal, ended } = t.tail(`${APP} --target dev --json --forward ${url}`, { language: "zh" });
  await Harness.until(async () => (await t.data(`show ${APP}`)).targets[0]?.pulled_at !== undefined);
  const answer = await meanwhile(t.push(key), () => t.world.clock.advance(600));
  expect(await answer.text()).toBe("success");
  await Harness.until(() => terminal.stdout.includes("\n"));
  pressCtrlC();
  await ended;
  expect(JSON.parse(terminal.stdout.split("\n")[0] ?? "")).toMatchObject({
    target: "dev",
    failure: expect.stringContaining("can't connect"),
  });
  expect((await t.data(`deliveries ${APP} --state waiting`)).deliveries).toHaveLength(1);
});

test("a target says that its environment is new, and a second route for everything what it is behind", async () => {
  await using t = await setup();
  await t.begin();
  const at = "--to https://a.example.com/wx";
  const [isNew, isBehind] = [
    "Environment prod is new\n",
    "gets nothing while route 1, to prod, can be reached\n",
  ];
  const first = await t.run(`target ${APP} prod ${at} --route`);
  expect([first.code, first.stderr]).toEqual([0, expect.stringContaining(isNew)]);
  expect(first.stderr).not.toContain(isBehind);
  const again = await t.run(`target ${APP} prod ${at} --timeout 3s`);
  expect([again.code, again.stderr]).toEqual([0, ""]);
  const second = await t.run(`target ${APP} prdo ${at} --environment prod --route`);
  expect(second.stderr).toContain(`Route 2 ${isBehind}`);
  expect(second.stderr).not.toContain(" is new\n");
  const copy = await t.run(`route ${APP} prdo --copy`);
  expect([copy.code, copy.stderr]).toEqual([0, ""]);
  expect((await t.run(`route ${APP} prdo`)).stderr).toContain(isBehind);
});

test("a push whose reply is refused has its line, with why and that it comes again", async () => {
  await using t = await setup({ pushAnswerMs: 500 });
  await using local = new Receiver(() => new Response("<xml><ToUserName>a</ToUserName></xml>"));
  const key = await t.begin();
  await t.run(`target ${APP} dev --content decrypted --route`);
  const { terminal, ended } = t.tail(`${APP} --forward ${local.url}`);
  await Harness.until(async () => (await t.data(`show ${APP}`)).targets[0]?.pulled_at !== undefined);
  await meanwhile(t.push(key), () => t.world.clock.advance(600));
  await Harness.until(() => terminal.stdout.includes("\n"));
  pressCtrlC();
  await ended;
  expect(terminal.stdout).toMatch(
    /^\d.* oUser1 {2}hello {2}→ 200 \(\d+ ms\) ✗ [^\n]*repl[^\n]*; it comes again\n$/,
  );
  expect((await t.data(`deliveries ${APP} --state waiting`)).deliveries).toHaveLength(1);
});

test("deliveries are listed, shown, replayed and dropped", async () => {
  await using t = await setup();
  const key = await t.begin();
  await t.run(`target ${APP} dev --route --copy`);
  await t.push(key, "listed");
  const [delivery] = (await t.data(`deliveries ${APP} --target dev`)).deliveries;
  const id = delivery?.id ?? 0;
  expect((await t.run(`deliveries ${APP}`)).stdout).toMatch(/text +dev +copy +waiting/);
  expect((await t.run(`delivery ${APP} ${id}`)).stdout).toContain("listed");
  expect((await t.run(`drop ${APP} ${id} --yes`)).stdout).toBe(`${id} is dropped\n`);
  expect((await t.run(`replay ${APP}`)).code).toBe(2);
  expect((await t.run(`deliveries ${APP} --state gone`)).code).toBe(2);
  expect((await t.run(`drop ${APP} ${id + 1} --yes`)).code).toBe(1);
});

test("all deliveries of a state are replayed, however many requests that takes", async () => {
  const answers = [{ replayed: 1000, next: "1400" }, { replayed: 7 }];
  await using it = new CliHarness(() => answered(answers.shift() ?? {}));
  const { stdout } = await it.run(["callbacks", "replay", "wx1", "--state", "waiting", "--target", "dev"]);
  expect(stdout).toBe("1007 delivered again\n");
  expect(it.arrived.map(({ body }) => body)).toEqual([
    { state: "waiting", target: "dev" },
    { state: "waiting", target: "dev", after: "1400" },
  ]);
});

test("a push that the program on this machine still handles is not forwarded to it again", async () => {
  const [released, acknowledged] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let pulls = 0;
  await using it = new CliHarness(async ({ path }) => {
    if (path.endsWith("/ack")) {
      acknowledged.resolve();
      return { answered: false };
    }
    if (++pulls === 4) {
      released.resolve();
      await acknowledged.promise;
      return Response.json({ code: 403, msg: "中文 (no)", data: {}, trace_id: "t" }, { status: 403 });
    }
    const push = { id: 7, app: "wx1", type: "text", event: "", target: "dev", role: "copy" };
    return answered({
      deliveries: [{ ...push, dedupe_key: "1", received_at: 0, body: "?", encoding: "text" }],
    });
  });
  let forwarded = 0;
  using local = Bun.serve({
    ...{ port: 0, hostname: "127.0.0.1" },
    fetch: async () => {
      forwarded++;
      await released.promise;
      return new Response("success");
    },
  });
  await it.run(["callbacks", "tail", "wx1", "--forward", local.url.href]);
  expect(forwarded).toBe(1);
});

test("tail goes on by itself when the service is back, and ends when it is refused for good", async () => {
  const answers = [503, 200, 502, 200];
  await using it = new CliHarness(({ path }) => {
    if (path.endsWith("/ack")) return { answered: false };
    const status = answers.shift() ?? 403;
    if (status !== 200)
      return Response.json(
        { code: status, msg: `中文 (status ${status})`, data: {}, trace_id: "t" },
        { status },
      );
    const push = {
      id: answers.length,
      app: "wx1",
      type: "event",
      event: "SCAN",
      target: "dev",
      role: "copy",
    };
    return answered({
      deliveries: [{ ...push, dedupe_key: "1", received_at: 0, body: "?", encoding: "text" }],
    });
  });
  const { code, stdout, stderr } = await it.run(["callbacks", "tail", "wx1"]);
  expect(code).toBe(1);
  expect(stdout.match(/dev {2}event SCAN\n/g)).toHaveLength(2);
  expect(stderr.split("\n").map((line) => line.replace(/ \(code.*/, ""))).toEqual([
    "accesstoken: status 503",
    "Trying again until it answers; Ctrl+C ends",
    "Waiting for pushes of wx1; Ctrl+C ends",
    "accesstoken: status 502",
    "Trying again until it answers; Ctrl+C ends",
    "Connected again",
    "accesstoken: status 403",
    "",
  ]);
  expect(it.asked.filter((each) => each.startsWith("GET"))).toEqual(
    ["0", "0", "30", "30", "30"].map((wait) => `GET /v1/apps/wx1/deliveries?wait=${wait}`),
  );
});
