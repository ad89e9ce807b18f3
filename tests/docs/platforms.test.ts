import { expect, test } from "bun:test";
import { join } from "node:path";
import { writeFileSync } from "node:fs";
import { SAMPLE_PLATFORMS } from "../../src/cli/sandbox.ts";
import { runAlone } from "../cli/cli-harness.ts";
import { createAdmin } from "../support/access-harness.ts";
import { Harness } from "../support/harness.ts";
import { binary, ProcessHarness } from "../support/process-harness.ts";
import { read } from "./document.ts";

const COMPONENT = { appId: "wxc000000000000001", secret: "c0".repeat(16) };
const ACCOUNT = "wxa000000000000001";
const PROVIDER = { corpId: "wwprovider00000001", secret: "s".repeat(43) };
const CORP = "wwcustomer0000001";
const PUBLIC_URL = "https://wx.example.com";

const { blocks, headings, lines } = read("docs/platforms.md");
const CHAPTERS = headings.filter(({ level }) => level === 2);
/** The commands of chapters in their order, and what reads tokens among them. */
const linesOf = (from: number, to: number) => {
  const [start, end] = [from, to].map((n) => lines.indexOf(`## ${CHAPTERS[n]?.text}`));
  return blocks
    .filter(({ line }) => line > (start ?? 0) && line < (end ?? 0))
    .flatMap(({ language, text }) =>
      text
        .trim()
        .split("\n")
        .map((line) => ({ language, line })),
    );
};

test("from an empty console to the first authorizer's and the first corp's token, each command of the page does what the page says", async () => {
  const authorizers = [{ appId: ACCOUNT, name: "公众号一", userName: "gh_1", kind: "official" as const }];
  const keys = { token: "unknown", aesKey: "0".repeat(43) };
  const suiteId = "ww5000000000000001";
  const corps = [{ corpId: CORP, name: "企业一", agentId: 1_000_010 }];
  await using world = new ProcessHarness(binary(), {
    components: [{ ...COMPONENT, ...keys, authorizers }],
    providers: [{ ...PROVIDER, suites: [{ suiteId, secret: PROVIDER.secret, ...keys, corps }] }],
    // A stalled machine is not a late answer.
    switches: { commandTimeoutMs: 60_000 },
  });
  const { sandbox } = world;
  writeFileSync(join(world.folder, "secret"), COMPONENT.secret, { mode: 0o600 });
  const variables = { PUBLIC_URL, WEIXIN_OPEN_BASE_URL: sandbox.weixinUrl };
  const { url } = await world.serve(variables);
  const control = sandbox.component(COMPONENT.appId);
  const here = (text: string) => text.replace(PUBLIC_URL, url);
  let key = "";

  const does: Readonly<Record<string, (output: string) => Promise<void>>> = {
    "platforms add": async (output) => {
      const [token = "", aesKey = ""] = ["Token", "EncodingAESKey"].map((name) => printed(output, name));
      const [eventUrl = "", messageUrl = ""] = ["auth", "$APPID$"].map(
        (end) => `${PUBLIC_URL}/callback/${COMPONENT.appId}/${end}`,
      );
      for (const shown of [eventUrl, messageUrl]) {
        expect(output).toContain(shown);
        expect(lines.some((line) => line.includes(`\`${shown}\``))).toBe(true);
      }
      // What is entered in WeChat's console.
      control.component.settings = { ...control.component.settings, token, aesKey };
      control.setUrls({ eventUrl: here(eventUrl), messageUrl: here(messageUrl) });
    },
    "platforms start-pushing": async () => {
      expect(sandbox.calls("/cgi-bin/component/api_start_push_ticket")).toBe(1);
      // The service learns of what a command has changed a moment later.
      await Harness.until(async () => (await control.pushTicket()).accepted);
    },
    "platforms show": async (output) => expect(output).not.toContain("none was pushed"),
    "platforms link": async (output) => {
      const link = here(printed(output, "URL"));
      const page = await fetch(link);
      expect(await page.text()).toContain("/go");
      const gone = await fetch(`${link}/go`, { redirect: "manual" });
      const consent = gone.headers.get("location") ?? "";
      const shown = await fetch(consent, { headers: { referer: `${PUBLIC_URL}/` } });
      expect(await shown.text()).toContain(ACCOUNT);
      const fields = new URLSearchParams({
        ...Object.fromEntries(new URL(consent).searchParams),
        authorizer: ACCOUNT,
      });
      const post = { method: "POST", body: fields, redirect: "manual" } as const;
      const agreed = await fetch(`${sandbox.weixinUrl}/cgi-bin/componentloginpage`, post);
      const back = await fetch(here(agreed.headers.get("location") ?? ""));
      expect([back.status, await back.text()]).toEqual([
        200,
        expect.stringContaining("Authorized") as string,
      ]);
    },
    "platforms authorizations": async (output) => expect(output).toContain(`${ACCOUNT}_${COMPONENT.appId}`),
    "KEY=": async (output) => void (key = output.trim()),
  };
  const walk = { world, url, variables, does, key: () => key };
  await follow({ ...walk, walked: linesOf(0, 3) });
  expect(sandbox.calls("/cgi-bin/component/api_query_auth")).toBe(1);

  const suite = sandbox.suite(suiteId);
  writeFileSync(join(world.folder, "secret"), PROVIDER.secret, { mode: 0o600 });
  await follow({
    ...walk,
    walked: linesOf(3, 4),
    does: {
      "platforms add": async (output) => {
        if (!output.includes(suiteId)) return;
        const [token = "", aesKey = ""] = ["Token", "EncodingAESKey"].map((name) => printed(output, name));
        const [commandUrl = "", dataUrl = ""] = ["auth", "$CORPID$"].map(
          (end) => `${PUBLIC_URL}/callback/${suiteId}/${end}`,
        );
        for (const shown of [commandUrl, dataUrl]) {
          expect(output).toContain(shown);
          expect(lines.some((line) => line.includes(`\`${shown}\``))).toBe(true);
        }
        suite.changeKey({ token, aesKey });
        suite.setUrls({ commandUrl: here(commandUrl), dataUrl: here(dataUrl) });
        await Harness.until(async () => (await suite.pushTicket()).accepted);
      },
      "platforms link": async () => expect((await suite.install(CORP)).push?.accepted).toBe(true),
    },
  });
  expect(sandbox.calls("/cgi-bin/service/v2/get_permanent_code")).toBe(1);
});

/** Runs each line, and does what the page has a person do after it. */
async function follow(walk: {
  readonly world: ProcessHarness;
  readonly url: string;
  readonly variables: Record<string, string>;
  readonly walked: readonly { readonly language: string; readonly line: string }[];
  readonly does: Readonly<Record<string, (output: string) => Promise<void>>>;
  readonly key: () => string;
}): Promise<void> {
  const { world, url, variables, does } = walk;
  for (const { language, line } of walk.walked) {
    if (language === "console") {
      const [, keeps] = /^KEY=\$\((.*)\)$/.exec(line) ?? [];
      const words = (keeps ?? line).split(" ").slice(1);
      const secret = words[1] === "add" && words[0] === "platforms" ? ["--secret-file", "secret"] : [];
      const child = world.run([...words.map((word) => word.replaceAll("'", "")), ...secret], {
        ...world.variables,
        ...variables,
      });
      expect([line, await child.exited(), child.stderr.match(/^accesstoken: .*/gm)]).toEqual([line, 0, null]);
      await does[keeps === undefined ? words.slice(0, 2).join(" ") : "KEY="]?.(child.stdout);
      continue;
    }
    const [, asked = "", quoted = ""] = /"(http[^"]+)"|'(http[^']+)'/.exec(line) ?? [];
    const target = `${asked}${quoted}`.replace("http://127.0.0.1:3000", url).replace("$KEY", walk.key());
    const headers = { authorization: `Bearer ${walk.key()}` };
    await Harness.until(async () => (await (await fetch(target, { headers })).text()).includes("atv1_"));
  }
}

test("what the sandbox's page says holds its platforms, and each of its pushes and consents reaches the service", async () => {
  const local = "http://localhost:3000";
  await using world = await Harness.create({
    sandbox: SAMPLE_PLATFORMS,
    environment: { PUBLIC_URL: local },
  });
  const { url } = world.service;
  // A stalled machine is not a late answer.
  world.sandbox.switches.commandTimeoutMs = 60_000;
  const { components, providers } = SAMPLE_PLATFORMS;
  const secrets = new Map([
    ...components.map(({ appId, secret }) => [appId, secret] as const),
    ...providers.map(({ corpId, secret }) => [corpId, secret] as const),
    ...providers.flatMap(({ suites }) => suites).map(({ suiteId, secret }) => [suiteId, secret] as const),
  ]);
  const place = (name: string) => join(world.folder, name);
  writeFileSync(place("key"), await createAdmin(world), { mode: 0o600 });
  const steps = { files: 0, held: 0, sent: 0 };
  const page = read("docs/sandbox.md");
  const from = page.lines.indexOf("## Third-party platforms");
  const to = page.lines.indexOf("## Group bots");
  const commands = page.blocks.filter(({ line }) => line > from && line < to).map(({ text }) => text);
  for (const line of commands.join("").trim().split("\n")) {
    if (line.startsWith("(umask")) {
      steps.files += 1;
      expect(await Bun.spawn(["bash", "-c", line], { cwd: world.folder }).exited).toBe(0);
    } else if (line.startsWith("accesstoken platforms add")) {
      steps.held += 1;
      const words = line.split(" ").slice(1);
      const input = secrets.get(words[3] ?? "") ?? "";
      const args = words.map((word) => (/^(token|aes-key)$/.test(word) ? place(word) : word));
      const how = ["--secret-file", "-", "--url", url, "--key-file", place("key")];
      const { code, stdout, stderr } = await runAlone([...args, ...how], { input });
      expect({ line, code, stderr }).toMatchObject({ line, code: 0 });
      // The URLs of the orders below are those that the service names.
      for (const [shown] of stdout.matchAll(/http:\S+/g)) expect(commands.join("")).toContain(`"${shown}"`);
    } else if (line.startsWith("curl")) {
      steps.sent += 1;
      const [, path = "", order = ""] =
        /^curl -X POST 'http:\/\/127\.0\.0\.1:3001(\/sandbox\/\S+)' .* -d '(.*)'$/.exec(line) ?? [];
      const headers = { "content-type": "application/json" };
      const body = order.replaceAll(local, url);
      const answer = await fetch(world.sandbox.weixinUrl + path, { method: "POST", headers, body });
      const text = await answer.text();
      expect({ line, text }).toEqual({ line, text: expect.stringMatching(/"accepted"|"ok":true/) as string });
      expect(text).not.toContain(`"accepted":false`);
    }
  }
  expect(steps).toEqual({ files: 1, held: 3, sent: 8 });
  // An authorization is exchanged once its push has been answered.
  const names = ["wxa000000000000001_wxc000000000000001", "wwcustomer0000001_ww5000000000000001"];
  for (const name of names)
    await Harness.until(async () => (await world.administer("/v1/apps")).text.includes(`"${name}"`));
});

/** What a command printed under that name. */
function printed(output: string, name: string): string {
  const found = new RegExp(`^${name}:?\\s+(\\S+)$`, "m").exec(output)?.[1];
  if (found === undefined) throw new Error(`no ${name} in: ${output}`);
  return found;
}
