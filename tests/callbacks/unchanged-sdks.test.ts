import { decrypt, encrypt, getSignature } from "@wecom/crypto";
import { expect, test } from "bun:test";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { OfficialAccount, ServerRequest, Work } from "node-easywechat";
import wechat from "wechat";
import { SERVICE } from "../../src/audit/audit-entry.ts";
import type { CallbackSettings, Target } from "../../src/callbacks/callback-settings.ts";
import { generatePushKey, type PushKey } from "../../src/callbacks/push-crypto.ts";
import { systemClock } from "../../src/clock.ts";
import { type PushedMessage, type PushEndpoint, PushSender } from "../../src/sandbox/push-sender.ts";
import { CORP, Harness, WECOM, WX } from "../support/harness.ts";
import { PushWorld } from "./push-world.ts";

/** What WeChat holds, and what a target of its own key holds. */
const KEY = generatePushKey();
const TARGET_KEY = generatePushKey();
const MESSAGE_ID = 6_972_028_683_187_026_694n;

/** One product of the two platforms, as its console is set. */
interface Product {
  readonly app: string;
  readonly receiveId: string;
  readonly platform: "weixin" | "wecom";
  readonly format: "xml" | "json";
}

const OFFICIAL: Product = { app: WX.appId, receiveId: WX.appId, platform: "weixin", format: "xml" };
const MINI: Product = { ...OFFICIAL, format: "json" };
const CORP_APP: Product = {
  app: `${CORP}_${WECOM.agent}`,
  receiveId: CORP,
  platform: "wecom",
  format: "xml",
};

type Handler = (request: IncomingMessage, response: ServerResponse, body: Buffer) => unknown;
type Program = (product: Product, key: Required<PushKey>) => Handler;

const ANSWER = "answered: 你好 👋 6972028683187026694";

const textsOf = ({ token, encodingAesKey }: Required<PushKey>) => ({
  token: token.reveal(),
  aesKey: encodingAesKey?.reveal() ?? "",
});

/** A program with `wechat` 2.1.0, as its README shows it for a plain HTTP server. */
const withWechat: Program = ({ receiveId }, key) => {
  const { token, aesKey } = textsOf(key);
  const middleware = wechat(
    { token, appid: receiveId, encodingAESKey: aesKey },
    ({ weixin: { Content, MsgId } }, response) => response.reply(`answered: ${Content} ${MsgId}`),
  );
  return (request, response, rawBody) => {
    const query = Object.fromEntries(new URL(request.url ?? "", "http://x").searchParams);
    const { method = "" } = request;
    const answer = {
      writeHead: (status: number) => response.writeHead(status),
      end: (text: string) => response.end(text),
    };
    middleware({ method, query, rawBody }, answer, (error: unknown) =>
      response.writeHead(500).end(String(error)),
    );
  };
};

/** A program with node-easywechat 3.6.2, as its README shows it. */
const withEasyWechat: Program = ({ platform, receiveId }, key) => {
  const { token, aesKey } = textsOf(key);
  const secrets = { secret: "s", token, aes_key: aesKey };
  return async (request, response, body) => {
    const app =
      platform === "wecom"
        ? new Work({ corp_id: receiveId, ...secrets })
        : new OfficialAccount({ app_id: receiveId, ...secrets });
    app.setRequest(new ServerRequest(request.method ?? "", request.url ?? "", {}, body));
    const server = app.getServer();
    server.with(
      async (message: Record<string, string>) => `answered: ${message["Content"]} ${message["MsgId"]}`,
    );
    response.end((await server.serve()).getBody().toString());
  };
};

/** A program with `@wecom/crypto` 1.0.1, which knows no envelope: so it serves those in JSON too. */
const withWecomCrypto: Program = ({ receiveId, format }, key) => {
  const { token, aesKey } = textsOf(key);
  return (request, response, body) => {
    const query = new URL(request.url ?? "", "http://x").searchParams;
    const text = body.toString();
    const isJson = format === "json";
    const encrypted = isJson
      ? (JSON.parse(text) as { Encrypt: string }).Encrypt
      : (/<Encrypt><!\[CDATA\[(.*?)\]\]>/.exec(text)?.[1] ?? "");
    const [timestamp, nonce] = [query.get("timestamp") ?? "", query.get("nonce") ?? ""];
    if (query.get("msg_signature") !== getSignature(token, timestamp, nonce, encrypted))
      return response.writeHead(403).end();
    const { message } = decrypt(aesKey, encrypted);
    const content = /"Content":"(.*?)"|<Content><!\[CDATA\[(.*?)\]\]>/.exec(message);
    const id = /"MsgId":(\d+)|<MsgId>(\d+)</.exec(message);
    const said = `answered: ${content?.[1] ?? content?.[2]} ${id?.[1] ?? id?.[2]}`;
    const reply = isJson
      ? `{"ToUserName":"o","FromUserName":"g","CreateTime":1,"MsgType":"text","Content":"${said}"}`
      : `<xml><ToUserName>o</ToUserName><FromUserName>g</FromUserName><CreateTime>1</CreateTime><MsgType>text</MsgType><Content><![CDATA[${said}]]></Content></xml>`;
    const sealed = encrypt(aesKey, reply, receiveId);
    const signature = getSignature(token, timestamp, nonce, sealed);
    return response.end(
      isJson
        ? JSON.stringify({
            Encrypt: sealed,
            MsgSignature: signature,
            TimeStamp: Number(timestamp),
            Nonce: nonce,
          })
        : `<xml><Encrypt><![CDATA[${sealed}]]></Encrypt><MsgSignature>${signature}</MsgSignature><TimeStamp>${timestamp}</TimeStamp><Nonce>${nonce}</Nonce></xml>`,
    );
  };
};

/** A program behind the service, which receives what its target is sent. */
async function setup(product: Product, program: Program, content: Target["content"]) {
  const handle = program(product, content === "original" ? KEY : TARGET_KEY);
  const seen: string[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      seen.push(request.url ?? "");
      void handle(request, response, Buffer.concat(parts));
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const it = await PushWorld.create({ targets: [] });
  const { app, platform, format, receiveId } = product;
  const { callbackSettings } = await it.store();
  const entry = {
    ...SERVICE,
    action: "callback.updated",
    app,
    outcome: "ok",
    tokenDigest: "",
    detail: {},
  } as const;
  const settings: Omit<CallbackSettings, "version"> = {
    ...{ app, token: KEY.token, aesKey: KEY.encodingAesKey, mode: "secure", format },
    receiveIds: [receiveId],
  };
  const keys = { token: TARGET_KEY.token, aesKey: TARGET_KEY.encodingAesKey };
  const target = {
    ...{ app, name: "prod", environment: "prod", content },
    url: `http://127.0.0.1:${port}/wx`,
    ...(content === "original" ? {} : keys),
  };
  await callbackSettings.save(settings, undefined, entry);
  await callbackSettings.saveTarget(target, undefined, entry);
  await callbackSettings.saveRoutes(app, [{ target: "prod", role: "primary", rule: {} }], undefined, entry);
  const endpoint: PushEndpoint = {
    ...{ platform, mode: "secure", format, receiveId },
    url: `${it.world.service.url}/callback/${app}`,
    token: KEY.token.reveal(),
    encodingAesKey: KEY.encodingAesKey.reveal(),
  };
  // The service's clock is the test's, so its pushes are signed by that.
  const sender = new PushSender({ ...systemClock, now: () => it.world.clock.now() });
  await Harness.until(async () => {
    it.world.clock.advance(300);
    return (await sender.check(endpoint)).verdict === "accepted";
  });
  return {
    seen,
    push: (message: PushedMessage) => sender.push(endpoint, message, { attempts: 1, timeoutMs: 60_000 }),
    now: () => Math.floor(it.world.clock.now() / 1000),
    async [Symbol.asyncDispose]() {
      await it[Symbol.asyncDispose]();
      server.closeAllConnections();
      server.close();
    },
  };
}

const PROGRAMS: readonly [string, Product, Program][] = [
  ["wechat 2.1.0, Official Account", OFFICIAL, withWechat],
  ["node-easywechat 3.6.2, Official Account", OFFICIAL, withEasyWechat],
  ["node-easywechat 3.6.2, WeCom", CORP_APP, withEasyWechat],
  ["@wecom/crypto 1.0.1, WeCom", CORP_APP, withWecomCrypto],
  ["@wecom/crypto 1.0.1, Mini Program in JSON", MINI, withWecomCrypto],
];
const CONTENTS = ["original", "reencrypted"] as const;

test.each(
  PROGRAMS.flatMap(([name, ...rest]) => CONTENTS.map((content) => [name, content, ...rest] as const)),
)(
  "P9: an unchanged program with %s answers WeChat's user from behind the service, sent the %s push",
  async (_, content, product, program) => {
    await using it = await setup(product, program, content);
    const made = await it.push({
      ...{ ToUserName: product.platform === "wecom" ? CORP : "gh_1", FromUserName: "oFAKE1" },
      ...{ CreateTime: it.now(), MsgType: "text", Content: "你好 👋", MsgId: MESSAGE_ID },
      ...(product.platform === "wecom" ? { AgentID: WECOM.agent } : {}),
    });
    expect(made).toMatchObject([{ verdict: "reply", status: 200, detail: expect.stringContaining(ANSWER) }]);
    expect(it.seen).toHaveLength(1);
  },
);
