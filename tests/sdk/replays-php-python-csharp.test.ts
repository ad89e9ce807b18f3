import { afterAll, expect, test } from "bun:test";
import { co2NetForm, requestsForm, symfonyForm } from "./file-forms.ts";
import { co2Net, httpWebRequest, requests, symfonyHttpClient } from "./http-libraries.ts";
import { Replay, ticketIn, tokenIn } from "./replay.ts";
import { DELIVERIES, PICTURE, SdkHarness } from "./sdk-harness.ts";

const at = await SdkHarness.start();
afterAll(() => at[Symbol.asyncDispose]());

const FILE = "图片 1.jpg";

test.each(DELIVERIES)("EasyWeChat 6: Official Account and Mini Program, %s", async (delivery) => {
  const client = await at.weixin(delivery);
  const { id, apiKey } = client;
  const php = new Replay(at.url, symfonyHttpClient);
  const token = tokenIn(
    await php.get(`/cgi-bin/token?grant_type=client_credential&appid=${id}&secret=${apiKey}`),
  );
  const ticket = ticketIn(await php.get(`/cgi-bin/ticket/getticket?type=jsapi&access_token=${token}`));
  expect(ticket).toBe(await at.credential(client, "jsapi_ticket"));
  const message = {
    text: '{"touser":"o1","msgtype":"text","text":{"content":"你好"}}',
    type: "application/json",
  };
  await php.post(`/cgi-bin/message/custom/send?access_token=${token}`, message);
  const login = `appid=${id}&secret=${apiKey}&js_code=sandbox-code-1&grant_type=authorization_code`;
  expect(await php.get(`/sns/jscode2session?${login}`)).toMatchObject({
    openid: expect.stringMatching(/^o/),
  });
  const upload = `/cgi-bin/media/upload?type=image&access_token=${token}`;
  const mediaId = await php.upload(upload, symfonyForm(FILE, PICTURE));
  const file = await php.download(`/cgi-bin/media/get?media_id=${mediaId}&access_token=${token}`);
  expect(file.equals(PICTURE)).toBe(true);
  expect(at.everythingSeenBy(client).includes(await at.credential(client))).toBe(delivery === "real");
});

test.each(DELIVERIES)("EasyWeChat 6: WeCom, %s", async (delivery) => {
  const client = await at.wecom(delivery);
  const php = new Replay(at.url, symfonyHttpClient);
  const token = tokenIn(await php.get(`/cgi-bin/gettoken?corpid=${client.id}&corpsecret=${client.apiKey}`));
  const corp = ticketIn(await php.get(`/cgi-bin/get_jsapi_ticket?access_token=${token}`));
  expect(corp).toBe(await at.credential(client, "jsapi_ticket"));
  const own = ticketIn(await php.get(`/cgi-bin/ticket/get?type=agent_config&access_token=${token}`));
  expect(own).toBe(await at.credential(client, "agent_config_ticket"));
  const message = {
    text: JSON.stringify({ agentid: Number(client.agent), touser: "@all" }),
    type: "application/json",
  };
  await php.post(`/cgi-bin/message/send?access_token=${token}`, message);
  expect(at.everythingSeenBy(client).includes(await at.credential(client))).toBe(delivery === "real");
});

test("EasyWeChat 6 finds in a refusal the number and the words on which it fetches another token", async () => {
  const { url } = at;
  const answer = await fetch(`${url}/cgi-bin/getcallbackip?access_token=70_over`);
  const content = await answer.text();
  expect(content).toContain("42001");
  expect(content).toContain("access_token expired");
});

test.each(DELIVERIES)("wechatpy: JSON without a type, a token with everything, %s", async (delivery) => {
  const client = await at.weixin(delivery);
  const { id, apiKey } = client;
  const python = new Replay(at.url, requests);
  const token = tokenIn(
    await python.get(`/cgi-bin/token?grant_type=client_credential&appid=${id}&secret=${apiKey}`),
  );
  const ticket = ticketIn(await python.get(`/cgi-bin/ticket/getticket?type=jsapi&access_token=${token}`));
  expect(ticket).toBe(await at.credential(client, "jsapi_ticket"));
  const message = {
    text: '{"touser": "o1", "msgtype": "text", "text": {"content": "你好"}}',
    type: undefined,
  };
  await python.post(`/cgi-bin/message/custom/send?access_token=${token}`, message);
  const login = `appid=${id}&secret=${apiKey}&js_code=sandbox-code-1&grant_type=authorization_code&access_token=${token}`;
  expect(await python.get(`/sns/jscode2session?${login}`)).toMatchObject({
    openid: expect.stringMatching(/^o/),
  });
  const oauth = `/sns/oauth2/access_token?appid=${id}&secret=${apiKey}&code=sandbox-code-2&grant_type=authorization_code`;
  expect(await python.get(oauth)).toMatchObject({ scope: "snsapi_userinfo" });
  const upload = `/cgi-bin/media/upload?type=image&access_token=${token}`;
  const mediaId = await python.upload(upload, requestsForm("picture.jpg", PICTURE));
  const file = await python.download(`/cgi-bin/media/get?media_id=${mediaId}&access_token=${token}`);
  expect(file.equals(PICTURE)).toBe(true);
  expect(at.everythingSeenBy(client).includes(await at.credential(client))).toBe(delivery === "real");
});

test.each(DELIVERIES)("wechatpy for WeCom, %s", async (delivery) => {
  const client = await at.wecom(delivery);
  const python = new Replay(at.url, requests);
  const token = tokenIn(
    await python.get(`/cgi-bin/gettoken?corpid=${client.id}&corpsecret=${client.apiKey}`),
  );
  const corp = ticketIn(await python.get(`/cgi-bin/get_jsapi_ticket?access_token=${token}`));
  expect(corp).toBe(await at.credential(client, "jsapi_ticket"));
  const own = ticketIn(await python.get(`/cgi-bin/ticket/get?type=agent_config&access_token=${token}`));
  expect(own).toBe(await at.credential(client, "agent_config_ticket"));
  const user = await python.get(`/cgi-bin/user/getuserinfo?code=sandbox-code-1&access_token=${token}`);
  expect(user).toMatchObject({ UserId: expect.stringMatching(/^user-/) });
  expect(at.everythingSeenBy(client).includes(await at.credential(client))).toBe(delivery === "real");
});

test.each(DELIVERIES)(
  "Senparc: JSON that is called a stream of bytes, forms in forms, %s",
  async (delivery) => {
    const client = await at.weixin(delivery);
    const { id, apiKey } = client;
    const net = new Replay(at.url, co2Net);
    const token = tokenIn(
      await net.get(`/cgi-bin/token?grant_type=client_credential&appid=${id}&secret=${apiKey}`),
    );
    const stable = { grant_type: "client_credential", appid: id, secret: apiKey, force_refresh: false };
    tokenIn(
      await net.post("/cgi-bin/stable_token", {
        text: JSON.stringify(stable),
        type: "application/octet-stream",
      }),
    );
    const ticket = ticketIn(await net.get(`/cgi-bin/ticket/getticket?access_token=${token}&type=jsapi`));
    expect(ticket).toBe(await at.credential(client, "jsapi_ticket"));
    const message = {
      text: '{"touser":"o1","msgtype":"text","text":{"content":"你好"}}',
      type: "application/octet-stream",
    };
    await net.post(`/cgi-bin/message/custom/send?access_token=${token}`, message);
    const upload = `/cgi-bin/media/upload?access_token=${token}&type=image`;
    const mediaId = await net.upload(upload, co2NetForm(FILE, PICTURE));
    const file = await net.download(`/cgi-bin/media/get?access_token=${token}&media_id=${mediaId}`);
    expect(file.equals(PICTURE)).toBe(true);
    expect(at.everythingSeenBy(client).includes(await at.credential(client))).toBe(delivery === "real");
  },
);

test("Senparc on .NET Framework: a body that waits until it is told to come", async () => {
  const client = await at.weixin("virtual");
  const net = new Replay(at.url, httpWebRequest);
  const { id, apiKey } = client;
  const stable = { grant_type: "client_credential", appid: id, secret: apiKey, force_refresh: false };
  const type = "application/octet-stream";
  const token = tokenIn(await net.post("/cgi-bin/stable_token", { text: JSON.stringify(stable), type }));
  await net.post(`/cgi-bin/message/custom/send?access_token=${token}`, { text: '{"touser":"o1"}', type });
  const upload = `/cgi-bin/media/upload?access_token=${token}&type=image`;
  expect(await net.upload(upload, co2NetForm(FILE, PICTURE))).toBeString();
});

test.each(DELIVERIES)("Senparc for WeCom, %s", async (delivery) => {
  const client = await at.wecom(delivery);
  const net = new Replay(at.url, co2Net);
  const token = tokenIn(await net.get(`/cgi-bin/gettoken?corpid=${client.id}&corpsecret=${client.apiKey}`));
  const corp = ticketIn(await net.get(`/cgi-bin/get_jsapi_ticket?access_token=${token}`));
  expect(corp).toBe(await at.credential(client, "jsapi_ticket"));
  const own = ticketIn(await net.get(`/cgi-bin/ticket/get?access_token=${token}&type=agent_config`));
  expect(own).toBe(await at.credential(client, "agent_config_ticket"));
  expect(await net.get(`/cgi-bin/getcallbackip?access_token=${token}`)).toMatchObject({ errcode: 0 });
  expect(at.everythingSeenBy(client).includes(await at.credential(client))).toBe(delivery === "real");
});
