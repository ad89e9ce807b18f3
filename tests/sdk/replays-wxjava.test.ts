import { afterAll, expect, test } from "bun:test";
import { apacheForm, okHttpForm } from "./file-forms.ts";
import { apacheHttpClient, okHttp } from "./http-libraries.ts";
import { Replay, ticketIn, tokenIn } from "./replay.ts";
import { DELIVERIES, type Delivery, PICTURE, type SdkClient, SdkHarness } from "./sdk-harness.ts";

const at = await SdkHarness.start();
afterAll(() => at[Symbol.asyncDispose]());

const FILE = "图片 1.jpg";

/** Apache's ContentType.APPLICATION_JSON, OkHttp's, and Jodd's: none for a stable token, HTML for everything else. */
const JSON_TYPES = [
  "application/json; charset=UTF-8",
  "application/json; charset=utf-8",
  undefined,
  "text/html; charset=UTF-8",
  "text/plain; charset=utf-8",
];

function stableBody({ id, apiKey }: SdkClient, force = false): string {
  return JSON.stringify({ grant_type: "client_credential", appid: id, secret: apiKey, force_refresh: force });
}

async function expectDelivered(client: SdkClient, token: string, delivery: Delivery): Promise<void> {
  const real = await at.credential(client);
  expect(token === real).toBe(delivery === "real");
  if (delivery === "virtual") expect(at.everythingSeenBy(client)).not.toContain(real);
}

test.each(DELIVERIES)("WxJava mp, whose api-host ends in a slash, %s", async (delivery) => {
  const client = await at.weixin(delivery);
  const { id, apiKey } = client;
  const java = new Replay(at.url, apacheHttpClient);
  const token = tokenIn(
    await java.get(`//cgi-bin/token?grant_type=client_credential&appid=${id}&secret=${apiKey}`),
  );
  for (const type of JSON_TYPES) {
    expect(
      tokenIn(await java.post("//cgi-bin/stable_token", { text: stableBody(client), type })),
    ).toBeString();
  }
  const jsapi = ticketIn(await java.get(`//cgi-bin/ticket/getticket?type=jsapi&access_token=${token}`));
  expect(jsapi).toBe(await at.credential(client, "jsapi_ticket"));
  const card = ticketIn(await java.get(`//cgi-bin/ticket/getticket?type=wx_card&access_token=${token}`));
  expect(card).toBe(await at.credential(client, "wx_card_ticket"));
  expect(await java.get(`//cgi-bin/getcallbackip?access_token=${token}`)).toHaveProperty("ip_list");
  const message = {
    text: '{"touser":"o1","msgtype":"text","text":{"content":"你好"}}',
    type: "application/json; charset=utf-8",
  };
  await java.post(`//cgi-bin/message/custom/send?access_token=${token}`, message);

  const upload = `//cgi-bin/media/upload?type=image&access_token=${token}`;
  // From a file its length is known; from a stream it isn't, which WeChat itself answers with 412.
  for (const isChunked of [false, true]) {
    const mediaId = await java.upload(upload, apacheForm(FILE, PICTURE), isChunked);
    const file = await java.download(`//cgi-bin/media/get?access_token=${token}&media_id=${mediaId}`);
    expect(file.equals(PICTURE)).toBe(true);
  }
  await expectDelivered(client, token, delivery);
});

test.each(DELIVERIES)(
  "WxJava mp on OkHttp: forced tokens, files, a web page's login and its user, %s",
  async (delivery) => {
    const client = await at.weixin(delivery);
    const { id, apiKey } = client;
    const java = new Replay(at.url, okHttp);
    const type = "application/json; charset=utf-8";
    tokenIn(await java.post("/cgi-bin/stable_token", { text: stableBody(client), type }));
    const before = await at.credential(client);
    const token = tokenIn(await java.post("/cgi-bin/stable_token", { text: stableBody(client, true), type }));
    expect(await at.credential(client)).not.toBe(before);

    const mediaId = await java.upload(
      `/cgi-bin/media/upload?type=image&access_token=${token}`,
      okHttpForm(FILE, PICTURE),
    );
    const file = await java.download(`/cgi-bin/media/get?access_token=${token}&media_id=${mediaId}`);
    expect(file.equals(PICTURE)).toBe(true);

    const login = `/sns/oauth2/access_token?appid=${id}&secret=${apiKey}&code=sandbox-code-1&grant_type=authorization_code`;
    const { access_token: userToken, openid } = await java.get(login);
    const user = await java.get(
      `/sns/userinfo?access_token=${String(userToken)}&openid=${String(openid)}&lang=zh_CN`,
    );
    expect(user).toMatchObject({ nickname: "沙箱用户" });
    await expectDelivered(client, token, delivery);
  },
);

test.each(DELIVERIES)("WxJava miniapp, one URL for both kinds of token, %s", async (delivery) => {
  const client = await at.weixin(delivery);
  const { id, apiKey } = client;
  const java = new Replay(at.url, apacheHttpClient);
  const token = tokenIn(
    await java.get(`/cgi-bin/token?grant_type=client_credential&appid=${id}&secret=${apiKey}`),
  );
  const stable = { text: stableBody(client), type: "application/json; charset=UTF-8" };
  for (const url of ["/cgi-bin/token", "/cgi-bin/stable_token"]) {
    expect(tokenIn(await java.post(url, stable))).toBeString();
  }
  // It sends the app's token along with everything, with a login too.
  const query = `access_token=${token}&appid=${id}&grant_type=authorization_code&js_code=sandbox-code-1&secret=${apiKey}`;
  expect(await java.get(`/sns/jscode2session?${query}`)).toMatchObject({
    openid: expect.stringMatching(/^o/),
  });
  await expectDelivered(client, token, delivery);
});

test.each(DELIVERIES)("WxJava cp, %s", async (delivery) => {
  const client = await at.wecom(delivery);
  const { id, agent, apiKey } = client;
  const java = new Replay(at.url, apacheHttpClient);
  const token = tokenIn(await java.get(`/cgi-bin/gettoken?corpid=${id}&corpsecret=${apiKey}`));
  const corp = ticketIn(await java.get(`/cgi-bin/get_jsapi_ticket?access_token=${token}`));
  expect(corp).toBe(await at.credential(client, "jsapi_ticket"));
  const own = ticketIn(await java.get(`/cgi-bin/ticket/get?&type=agent_config&access_token=${token}`));
  expect(own).toBe(await at.credential(client, "agent_config_ticket"));

  const session = `access_token=${token}&grant_type=authorization_code&js_code=sandbox-code-1`;
  expect(await java.get(`/cgi-bin/miniprogram/jscode2session?${session}`)).toMatchObject({ corpid: id });
  const member = { userid: expect.stringMatching(/^user-/) };
  expect(await java.get(`/cgi-bin/auth/getuserinfo?code=sandbox-code-2&access_token=${token}`)).toMatchObject(
    member,
  );
  const old = `/cgi-bin/user/getuserinfo?code=sandbox-code-3&agentid=${agent}&access_token=${token}`;
  expect(await java.get(old)).toMatchObject({ UserId: expect.stringMatching(/^user-/) });

  const mediaId = await java.upload(
    `/cgi-bin/media/upload?type=image&access_token=${token}`,
    apacheForm(FILE, PICTURE),
  );
  const file = await java.download(`/cgi-bin/media/get?access_token=${token}&media_id=${mediaId}`);
  expect(file.equals(PICTURE)).toBe(true);
  await expectDelivered(client, token, delivery);
});

test("WxJava is told of a wrong secret and of a token that is over in the codes that it knows", async () => {
  const client = await at.weixin("virtual");
  const corp = await at.wecom("virtual");
  const java = new Replay(at.url, apacheHttpClient);
  const wrong = `ats_${"x".repeat(client.apiKey.length - 4)}`;
  const token = (id: string, secret: string) =>
    `/cgi-bin/token?grant_type=client_credential&appid=${id}&secret=${secret}`;
  expect(await java.refusedGet(token(client.id, wrong))).toBe(40125);
  expect(await java.refusedGet(`/cgi-bin/gettoken?corpid=${corp.id}&corpsecret=${wrong}`)).toBe(40001);
  // The one number on which every SDK fetches another token.
  expect(await java.refusedGet("/cgi-bin/getcallbackip?access_token=70_over")).toBe(42001);
});
