import { expect, test } from "bun:test";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { Harness } from "../support/harness.ts";
import { freePort } from "../support/postgres-server.ts";
import { ask, binary, ProcessHarness } from "../support/process-harness.ts";

const COMPONENT = "wxc000000000000001";
const ACCOUNT = "wxa000000000000001";
const APP = `${ACCOUNT}_${COMPONENT}`;
const SECRET = "0123456789abcdef0123456789abcdef";
const NOT_ENTERED_YET = { token: "notEntered", aesKey: "0".repeat(43) };

/** The compiled program and a sandbox whose console nobody has filled in yet, and what a person does with both. */
function setup() {
  const world = new ProcessHarness(binary(), {
    ...{ weixinApps: [], wecomApps: [] },
    components: [
      {
        ...{ appId: COMPONENT, secret: SECRET, ...NOT_ENTERED_YET },
        authorizers: [{ appId: ACCOUNT, name: "店铺", userName: "gh_000000000001", kind: "official" }],
      },
    ],
  });
  const port = freePort();
  const { weixinUrl, wecomUrl } = world.sandbox;
  const env = {
    ...{ PORT: String(port), ENV_FILE: "", WEIXIN_BASE_URL: weixinUrl, WECOM_BASE_URL: wecomUrl },
    ...{ PUBLIC_URL: `http://localhost:${port}`, WEIXIN_OPEN_BASE_URL: weixinUrl },
  };
  /** The data that a command prints, which must succeed. */
  const command = async (words: string): Promise<Record<string, string>> => {
    const child = world.run([...words.split(" "), "--json"], env);
    const code = await child.exited();
    expect({ words, code, stderr: child.stderr }).toMatchObject({ words, code: 0 });
    return JSON.parse(child.stdout) as Record<string, string>;
  };
  world.write("secret", `${SECRET}\n`);
  chmodSync(join(world.folder, "secret"), 0o600);
  return { world, env, command, control: world.sandbox.component(COMPONENT) };
}

/** Where the first link of a page leads. */
function linkIn(page: string): string {
  return /href="([^"]+)"/.exec(page)?.[1] ?? "";
}

test("from an empty folder to an account's token and back: the way that the guide describes, on the compiled program", async () => {
  const { world, env, command, control } = setup();
  await using _ = world;
  const service = world.run(["serve"], env);
  const url = await service.serviceUrl();

  // The platform is held, and what was printed is entered in WeChat's console.
  const entry = await command(
    `platforms add weixin ${COMPONENT} --title shop --secret-file secret --callback`,
  );
  const { auth_url: eventUrl = "", message_url: messageUrl = "", token = "", aes_key: aesKey = "" } = entry;
  expect(eventUrl).toBe(`${env.PUBLIC_URL}/callback/${COMPONENT}/auth`);
  expect(messageUrl).toBe(`${env.PUBLIC_URL}/callback/${COMPONENT}/$APPID$`);
  control.component.settings = { ...control.component.settings, token, aesKey };
  control.setUrls({ eventUrl, messageUrl });
  // The service learns of what a command has changed a moment later.
  await Harness.until(async () => (await control.pushTicket()).accepted);
  expect(await command(`platforms show ${COMPONENT}`)).toMatchObject({
    ticket: { received_at: expect.any(Number) },
  });

  // The owner of the account opens the link, goes on to WeChat's page, and agrees.
  const { url: link = "" } = await command(`platforms link ${COMPONENT}`);
  const page = await fetch(link);
  const next = new URL(linkIn(await page.text()), link);
  const on = await fetch(next, { redirect: "manual", headers: { referer: link } });
  const consentUrl = on.headers.get("location") ?? "";
  expect([page.status, on.status]).toEqual([200, 302]);
  const origin = `${new URL(link).origin}/`;
  const consent = await (await fetch(consentUrl, { headers: { referer: origin } })).text();
  expect(consent).toContain("店铺");
  const fields = new URLSearchParams(new URL(consentUrl).search);
  fields.set("authorizer", ACCOUNT);
  const { origin: weixin, pathname } = new URL(consentUrl);
  const agreed = await fetch(weixin + pathname, { method: "POST", body: fields, redirect: "manual" });
  const back = await fetch(agreed.headers.get("location") ?? "");
  expect(back.status).toBe(200);
  expect(await back.text()).toContain("授权成功");
  expect(await command(`platforms authorizations ${COMPONENT}`)).toMatchObject({
    authorizations: [{ app: APP, account: ACCOUNT, kind: "official" }],
  });
  expect(world.sandbox.calls("/cgi-bin/component/api_query_auth")).toBe(1);

  // A program of the development environment has a key, and the account's token in every way there is.
  await command(
    `clients add shop-dev --environment dev --apps platform:${COMPONENT}/* --actions token:read,api:call`,
  );
  const { api_key: key = "", base_url: baseUrl = "" } = await command("keys create shop-dev");
  // PUBLIC_URL's own host would answer nothing of what follows.
  expect((await fetch(`${baseUrl}/console/`)).status).toBe(200);
  const getXcx = () => ask(baseUrl, "/AccessToken/getXcx", { appid: ACCOUNT, secret: key });
  const documented = await getXcx();
  const headers = { authorization: `Bearer ${key}` };
  const v1 = await ask(url, `/v1/apps/${APP}/credentials/access_token`, {}, { headers });
  const tokens = [documented.data["access_token"], v1.data["value"]].map(String);
  // Of another environment than production they are ours, and the gateway knows them.
  for (const each of tokens) expect(each).toStartWith("atv1_");
  const query = new URLSearchParams({ access_token: tokens[0] ?? "" });
  const call = () => fetch(`${url}/cgi-bin/get_api_domain_ip?${query.toString()}`).then((got) => got.json());
  expect(await call()).toMatchObject({ ip_list: expect.any(Array) });

  // The owner ends it.
  expect(await control.unauthorize(ACCOUNT)).toMatchObject({ accepted: true });
  expect((await getXcx()).code).not.toBe(0);
  expect(await call()).toMatchObject({ errcode: 42001 });
  expect(await command(`platforms authorizations ${COMPONENT}`)).toMatchObject({ authorizations: [] });
}, 60_000);
