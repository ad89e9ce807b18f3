import { afterAll, expect, test } from "bun:test";
import { goForm } from "./file-forms.ts";
import { netHttp, powerLibs } from "./http-libraries.ts";
import { Replay, ticketIn, tokenIn } from "./replay.ts";
import { DELIVERIES, PICTURE, SdkHarness } from "./sdk-harness.ts";

const at = await SdkHarness.start();
afterAll(() => at[Symbol.asyncDispose]());

/** Go's encoder ends JSON with a line feed. */
function goJson(value: object): string {
  return `${JSON.stringify(value)}\n`;
}

test.each(DELIVERIES)("silenceper/wechat behind SetURIModifier, %s", async (delivery) => {
  const client = await at.weixin(delivery);
  const { id, apiKey } = client;
  const go = new Replay(at.url, netHttp);
  const type = "application/json;charset=utf-8";
  const token = tokenIn(
    await go.get(`/cgi-bin/token?grant_type=client_credential&appid=${id}&secret=${apiKey}`),
  );
  const stable = { grant_type: "client_credential", appid: id, secret: apiKey, force_refresh: false };
  // A map, which Go writes in the order of its keys.
  const sorted = Object.fromEntries(Object.entries(stable).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  tokenIn(await go.post("/cgi-bin/stable_token", { text: goJson(sorted), type }));
  const ticket = ticketIn(await go.get(`/cgi-bin/ticket/getticket?access_token=${token}&type=jsapi`));
  expect(ticket).toBe(await at.credential(client, "jsapi_ticket"));
  const message = { text: goJson({ touser: "o1", text: { content: "<你好>" } }), type };
  await go.post(`/cgi-bin/message/custom/send?access_token=${token}`, message);
  const login = `appid=${id}&secret=${apiKey}&js_code=sandbox-code-1&grant_type=authorization_code`;
  expect(await go.get(`/sns/jscode2session?${login}`)).toMatchObject({ openid: expect.stringMatching(/^o/) });

  // Its form has the file's whole path for a name.
  const form = goForm("/tmp/图片.jpg", PICTURE);
  const mediaId = await go.upload(`/cgi-bin/media/upload?access_token=${token}&type=image`, form);
  const file = await go.download(`/cgi-bin/media/get?access_token=${token}&media_id=${mediaId}`);
  expect(file.equals(PICTURE)).toBe(true);
  const real = await at.credential(client);
  expect(at.everythingSeenBy(client).includes(real)).toBe(delivery === "real");
});

test.each(DELIVERIES)("silenceper/wechat for WeCom, %s", async (delivery) => {
  const client = await at.wecom(delivery);
  const go = new Replay(at.url, netHttp);
  const token = tokenIn(await go.get(`/cgi-bin/gettoken?corpid=${client.id}&corpsecret=${client.apiKey}`));
  const user = await go.get(`/cgi-bin/auth/getuserinfo?access_token=${token}&code=sandbox-code-1`);
  expect(user).toMatchObject({ userid: expect.stringMatching(/^user-/) });
  expect(at.everythingSeenBy(client).includes(await at.credential(client))).toBe(delivery === "real");
});

test.each(DELIVERIES)(
  "PowerWeChat: everything but the token by POST, without a body, %s",
  async (delivery) => {
    const client = await at.weixin(delivery);
    const { id, apiKey } = client;
    const go = new Replay(at.url, powerLibs);
    // Its own request goes to WeChat whatever the base; this is what GetCustomToken sends, with the fields of its credentials.
    const query = `appid=${id}&grant_type=client_credential&neededText=&secret=${apiKey}`;
    const token = tokenIn(await go.get(`/cgi-bin/token?${query}`));
    const ticket = ticketIn(await go.post(`/cgi-bin/ticket/getticket?access_token=${token}&type=jsapi`));
    expect(ticket).toBe(await at.credential(client, "jsapi_ticket"));
    const message = { text: goJson({ touser: "o1", text: { content: "<你好>" } }), type: "application/json" };
    await go.post(`/cgi-bin/message/custom/send?access_token=${token}`, message);
    const form = goForm("picture.jpg", PICTURE);
    const mediaId = await go.upload(`/cgi-bin/media/upload?access_token=${token}&type=image`, form);
    const file = await go.download(`/cgi-bin/media/get?access_token=${token}&media_id=${mediaId}`, "POST");
    expect(file.equals(PICTURE)).toBe(true);
    expect(at.everythingSeenBy(client).includes(await at.credential(client))).toBe(delivery === "real");
  },
);

test.each(DELIVERIES)(
  "PowerWeChat for WeCom, with a base that ends in a slash and its debug mode on, %s",
  async (delivery) => {
    const client = await at.wecom(delivery);
    const { id, apiKey } = client;
    const go = new Replay(at.url, powerLibs);
    const query = `appid=${id}&corpid=${id}&corpsecret=${apiKey}&neededText=&secret=${apiKey}`;
    const token = tokenIn(await go.get(`/cgi-bin/gettoken?${query}`));
    const corp = ticketIn(
      await go.post(`//cgi-bin/get_jsapi_ticket?access_token=${token}&debug=1&type=jsapi`),
    );
    expect(corp).toBe(await at.credential(client, "jsapi_ticket"));
    const own = ticketIn(await go.get(`/cgi-bin/ticket/get?access_token=${token}&debug=1&type=agent_config`));
    expect(own).toBe(await at.credential(client, "agent_config_ticket"));
    const message = {
      text: goJson({ agentid: Number(client.agent), touser: "@all" }),
      type: "application/json",
    };
    await go.post(`/cgi-bin/message/send?access_token=${token}&debug=1`, message);
    expect(at.everythingSeenBy(client).includes(await at.credential(client))).toBe(delivery === "real");
  },
);

test.each(DELIVERIES)(
  "go-workwx, whose parameters come in the order of their names, %s",
  async (delivery) => {
    const client = await at.wecom(delivery);
    const { id, agent, apiKey } = client;
    const go = new Replay(at.url, netHttp);
    const token = tokenIn(await go.get(`/cgi-bin/gettoken?corpid=${id}&corpsecret=${apiKey}`));
    const corp = ticketIn(await go.get(`/cgi-bin/get_jsapi_ticket?access_token=${token}`));
    expect(corp).toBe(await at.credential(client, "jsapi_ticket"));
    const own = ticketIn(await go.get(`/cgi-bin/ticket/get?access_token=${token}&type=agent_config`));
    expect(own).toBe(await at.credential(client, "agent_config_ticket"));
    const session = `access_token=${token}&grant_type=authorization_code&js_code=sandbox-code-1`;
    expect(await go.get(`/cgi-bin/miniprogram/jscode2session?${session}`)).toMatchObject({ corpid: id });
    const user = await go.get(`/cgi-bin/auth/getuserinfo?access_token=${token}&code=sandbox-code-2`);
    expect(user).toMatchObject({ userid: expect.stringMatching(/^user-/) });
    const message = {
      agentid: Number(agent),
      msgtype: "text",
      safe: 0,
      text: { content: "你好" },
      touser: "@all",
    };
    await go.post(`/cgi-bin/message/send?access_token=${token}`, {
      text: JSON.stringify(message),
      type: "application/json",
    });
    const form = goForm("picture.jpg", PICTURE);
    const mediaId = await go.upload(`/cgi-bin/media/upload?access_token=${token}&type=image`, form);
    const file = await go.download(`/cgi-bin/media/get?access_token=${token}&media_id=${mediaId}`);
    expect(file.equals(PICTURE)).toBe(true);
    expect(at.everythingSeenBy(client).includes(await at.credential(client))).toBe(delivery === "real");
  },
);
