import { afterAll, expect, test } from "bun:test";
import { MiniApp, OfficialAccount, Work } from "node-easywechat";
import { ownSignature, type PageSignature } from "./own-signature.ts";
import { refusalOf } from "./refusal.ts";
import { DELIVERIES, PICTURE, type SdkClient, SdkHarness } from "./sdk-harness.ts";

const at = await SdkHarness.start();
afterAll(() => at[Symbol.asyncDispose]());

const PAGE = "https://shop.example.com/卡?a=1&b=%20";

/** What a Mini Program's login code is exchanged for. */
type Session = Record<"openid" | "unionid" | "session_key", string>;

/** The options that its README documents, and no others. */
function options({ apiKey, folder }: SdkClient) {
  return {
    secret: apiKey,
    http: { baseURL: at.url },
    file_cache: { path: folder, dirMode: 0o700, fileMode: 0o600, ext: ".cache" },
  };
}

function officialAccount(client: SdkClient, more: { use_stable_access_token?: boolean } = {}) {
  return new OfficialAccount({ app_id: client.id, ...options(client), ...more });
}

function work(client: SdkClient) {
  return new Work({ corp_id: client.id, ...options(client) });
}

/** The token that the SDK gets when it is told to get another; its types hide that it can. */
function refreshed(app: OfficialAccount | Work): Promise<string> {
  return (app.getAccessToken() as unknown as { refresh(): Promise<string> }).refresh();
}

/** Uploads the picture and downloads it again; gives what came. */
async function thereAndBack(app: OfficialAccount | Work, client: SdkClient, name?: string): Promise<Buffer> {
  const api = app.getClient();
  const upload = await api
    .withFile(at.picture(client, name), "media")
    .post("/cgi-bin/media/upload", { params: { type: "image" } });
  const { media_id } = upload.toObject<{ media_id: string }>();
  const query = { params: { media_id }, responseType: "arraybuffer" } as const;
  const download = await api.get("/cgi-bin/media/get", query);
  expect(download.getHeader("content-disposition")).toBe(`attachment; filename="${media_id}.jpg"`);
  return download.getContent() as Buffer;
}

test.each(DELIVERIES)(
  "an Official Account: token, call, signature, upload and download, %s",
  async (delivery) => {
    const client = await at.weixin(delivery);
    const app = officialAccount(client);
    const token = await app.getAccessToken().getToken();
    const call = await app.getClient().get("/cgi-bin/getcallbackip");
    expect(call.toObject()).toEqual({ ip_list: ["106.55.206.146", "106.55.206.211"] });

    const page = (await app.getUtils().buildJsSdkConfig(PAGE, ["chooseImage"])) as PageSignature;
    expect(page).toMatchObject({ appId: client.id, url: PAGE });
    expect(page.signature).toBe(ownSignature(await at.credential(client, "jsapi_ticket"), page));
    expect((await thereAndBack(app, client, "图片 1.jpg")).equals(PICTURE)).toBe(true);

    const real = await at.credential(client);
    expect(token === real).toBe(delivery === "real");
    expect(at.everythingSeenBy(client).includes(real)).toBe(delivery === "real");
    expect(at.everythingSeenBy(client)).not.toContain(client.secret);
  },
);

test.each(DELIVERIES)(
  "an Official Account that uses stable tokens shares the same one, %s",
  async (delivery) => {
    const client = await at.weixin(delivery);
    const app = officialAccount(client, { use_stable_access_token: true });
    const token = await app.getAccessToken().getToken();
    expect(token === (await at.credential(client))).toBe(delivery === "real");
    const sent = await app
      .getClient()
      .postJson("/cgi-bin/message/custom/send", { touser: "o1", text: "你好" });
    expect(sent.toObject<object>()).toEqual({ errcode: 0, errmsg: "ok" });
  },
);

test.each(DELIVERIES)("a Mini Program: login, token and call, %s", async (delivery) => {
  const client = await at.weixin(delivery);
  const app = new MiniApp({ app_id: client.id, ...options(client) });
  const login = async () => (await app.getUtils().codeToSession("sandbox-code-union-1")) as Session;
  const { openid, unionid, session_key } = await login();
  expect([openid[0], unionid[0], Buffer.from(session_key, "base64").length]).toEqual(["o", "o", 16]);
  // A code is good once; whoever repeats it at once is told the same again.
  expect(await login()).toEqual({ openid, unionid, session_key });
  expect(await refusalOf(app.getUtils().codeToSession("no-code"))).toHaveProperty(
    "message",
    expect.stringContaining("40029"),
  );

  const call = await app.getClient().postJson("/cgi-bin/message/custom/send", { touser: openid });
  expect(call.toObject<object>()).toEqual({ errcode: 0, errmsg: "ok" });
  expect(at.everythingSeenBy(client).includes(await at.credential(client))).toBe(delivery === "real");
});

test.each(DELIVERIES)(
  "WeCom: token, call, both signatures, login, upload and download, %s",
  async (delivery) => {
    const client = await at.wecom(delivery);
    const app = work(client);
    const token = await app.getAccessToken().getToken();
    const message = {
      touser: "@all",
      agentid: Number(client.agent),
      msgtype: "text",
      text: { content: "你好" },
    };
    const sent = await app.getClient().postJson("/cgi-bin/message/send", message);
    expect(sent.toObject()).toMatchObject({ errcode: 0 });

    const page = (await app.getUtils().buildJsSdkConfig(PAGE)) as PageSignature;
    expect(page.signature).toBe(ownSignature(await at.credential(client, "jsapi_ticket"), page));
    const agentTicket = await app.getTicket().getAgentTicket(Number(client.agent));
    expect(agentTicket).toBe(await at.credential(client, "agent_config_ticket"));
    const user = await app
      .getClient()
      .get("/cgi-bin/auth/getuserinfo", { params: { code: "sandbox-code-1" } });
    expect(user.toObject()).toMatchObject({ errcode: 0, userid: expect.stringMatching(/^user-/) });
    expect((await thereAndBack(app, client)).equals(PICTURE)).toBe(true);

    const real = await at.credential(client);
    expect(token === real).toBe(delivery === "real");
    expect(at.everythingSeenBy(client).includes(real)).toBe(delivery === "real");
  },
);

test.each([
  ["virtual", "noticed"],
  ["virtual", "unnoticed"],
  ["real", "noticed"],
  ["real", "unnoticed"],
] as const)(
  "a killed token of an Official Account is healed within the call, %s, %s",
  async (delivery, how) => {
    const client = await at.weixin(delivery);
    const app = officialAccount(client);
    const call = async () => (await app.getClient().get("/cgi-bin/getcallbackip")).toObject<object>();
    expect(await call()).toHaveProperty("ip_list");
    const dead = await at.credential(client);
    at.sandbox.killTokens(client.id, { unnoticed: how === "unnoticed" });

    expect(await call()).toHaveProperty("ip_list");
    const real = await at.credential(client);
    expect(real).not.toBe(dead);
    if (delivery === "real") {
      // It holds the dead one still, and never asks again by itself.
      expect(await call()).toHaveProperty("ip_list");
      expect(await refreshed(app)).toBe(real);
    }
    expect(await call()).toHaveProperty("ip_list");
    expect((await thereAndBack(app, client)).equals(PICTURE)).toBe(true);
    for (const token of [dead, real]) {
      expect(at.everythingSeenBy(client).includes(token)).toBe(delivery === "real");
    }
  },
);

test.each(DELIVERIES)("a killed token of WeCom is healed within the call, %s", async (delivery) => {
  const client = await at.wecom(delivery);
  const app = work(client);
  const call = async () => (await app.getClient().get("/cgi-bin/getcallbackip")).toObject<object>();
  expect(await call()).toMatchObject({ errcode: 0 });
  const dead = await at.credential(client);
  at.sandbox.killTokens(client.id);
  expect(await call()).toMatchObject({ errcode: 0 });
  const real = await at.credential(client);
  expect(real).not.toBe(dead);
  if (delivery === "real") expect(await refreshed(app)).toBe(real);
  expect(await call()).toMatchObject({ errcode: 0 });
  for (const token of [dead, real]) {
    expect(at.everythingSeenBy(client).includes(token)).toBe(delivery === "real");
  }
});

test("where WeCom issues the dead token again, the SDK is told what WeCom says, and nothing goes in circles", async () => {
  const client = await at.wecom("virtual");
  const app = work(client);
  await app.getClient().get("/cgi-bin/getcallbackip");
  at.sandbox.killTokens(client.id, { unnoticed: true });
  const before = at.sandbox.calls("/cgi-bin/gettoken", "wecom");
  const call = await app.getClient().get("/cgi-bin/getcallbackip");
  expect(call.toObject()).toMatchObject({ errcode: 40014 });
  expect(at.sandbox.calls("/cgi-bin/gettoken", "wecom") - before).toBeLessThanOrEqual(1);
});

test("a developer's SDK calls WeCom, but sends nobody a message, and is told why", async () => {
  const client = await at.wecom();
  const api = work(client).getClient();
  expect((await api.get("/cgi-bin/getcallbackip")).toObject<object>()).toMatchObject({ errcode: 0 });
  const sent = await api.postJson("/cgi-bin/message/send", { touser: "@all", agentid: Number(client.agent) });
  const { errcode, errmsg } = sent.toObject<{ errcode: number; errmsg: string }>();
  expect(errcode).toBe(48002);
  expect(errmsg).toContain("policy (safe)");
});
