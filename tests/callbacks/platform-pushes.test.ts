import { afterAll, beforeAll, expect, test } from "bun:test";
import { OpenPlatform, ServerRequest } from "node-easywechat";
import { readKeptPush } from "../../src/callbacks/kept-push.ts";
import { decryptPush, generatePushKey, signPush } from "../../src/callbacks/push-crypto.ts";
import { readPushFields } from "../../src/callbacks/push-fields.ts";
import { checkQuery, encryptedCopy } from "../../src/callbacks/push-reply.ts";
import { verifyPush } from "../../src/callbacks/verify-push.ts";
import type { PushedMessage } from "../../src/sandbox/push-sender.ts";
import { Harness } from "../support/harness.ts";
import {
  authorized,
  COMPONENT,
  CORP,
  endpoint,
  KEY,
  MINI,
  OFFICIAL,
  platform,
  PlatformWorld,
  PROVIDER,
  REFUSED,
  SUITE,
  TEMPLATE,
  VECTOR_TIME,
} from "./platform-world.ts";
import { type Arrived, Receiver, textReply } from "./push-world.ts";
import { vector } from "./push-vectors.ts";

const SUCCESS = { status: 200, body: "success", contentType: "text/plain; charset=utf-8" };
const OTHER = "wwcustomer0000000009";

let t: PlatformWorld;
beforeAll(async () => {
  t = await PlatformWorld.create();
});
afterAll(() => t[Symbol.asyncDispose]());

/** Waits until `count` pushes have arrived, and gives them. */
async function arrivedAt(target: Receiver, count: number): Promise<Arrived[]> {
  await Harness.until(() => target.arrived.length >= count);
  return target.arrived;
}

/** The message that a target was sent under the platform's own key. */
function openedBy({ body }: Arrived, key = KEY): string {
  const encrypted = readPushFields(Buffer.from(body)).fields.get("Encrypt") ?? "";
  return Buffer.from(decryptPush(encrypted, key).message).toString();
}

/** Sends what a vector was sent with. */
async function sendVector(name: string, path: string, world = t) {
  const { encrypted, timestamp, nonce, msgSignature, signature = "" } = vector(name);
  const query = `signature=${signature}&timestamp=${timestamp}&nonce=${nonce}&encrypt_type=aes&msg_signature=${msgSignature}`;
  const body = `<xml><AppId><![CDATA[x]]></AppId><Encrypt><![CDATA[${encrypted}]]></Encrypt></xml>`;
  const response = await fetch(`${world.url(path)}?${query}`, { method: "POST", body });
  return { status: response.status, body: await response.text() };
}

/** A message of a user, as WeChat pushes it. */
function message(more: PushedMessage = {}): PushedMessage {
  const CreateTime = Math.floor(t.clock.now() / 1000);
  const users = { ToUserName: "gh_000000000001", FromUserName: "oUser" };
  return { ...users, CreateTime, MsgType: "text", Content: "hello", MsgId: 24_000_000_000_000_001n, ...more };
}

const COMMANDS = [
  ["a component_verify_ticket", () => t.component.pushTicket()],
  ["authorized", () => t.component.authorize(OFFICIAL)],
  ["unauthorized", () => t.component.pushEvent("unauthorized", { AuthorizerAppid: MINI })],
  ["an InfoType that nobody knows", () => t.component.pushEvent("notify_of_2031", { appid: "wx1" })],
  ["a suite_ticket", () => t.suite.pushTicket()],
  ["create_auth", () => t.suite.install(CORP, { send: "push" })],
  ["cancel_auth", () => t.suite.pushEvent("cancel_auth", { AuthCorpId: CORP })],
] as const;

test.each(COMMANDS)(
  "trap 18: trap 23: %s is answered success and nothing else, while its target answers something else",
  async (_, push) => {
    await using wrong = new Receiver(() => Response.json({ code: 0 }));
    for (const app of [COMPONENT, SUITE]) await t.set(app, idsOf(app), { prod: { url: wrong.url } });
    const before = t.commands.noted.length;
    await push();
    expect(t.last).toEqual(SUCCESS);
    expect(t.commands.noted).toHaveLength(before + 1);
    await arrivedAt(wrong, 1);
  },
);

/** The ids that the pushes of each platform name. */
function idsOf(app: string) {
  return { receiveIds: app === COMPONENT ? [COMPONENT] : [app, PROVIDER] };
}

test("trap 23: an InfoType that nobody knows goes on to its targets byte for byte", async () => {
  await using prod = new Receiver();
  await t.set(COMPONENT, idsOf(COMPONENT), { prod: { url: prod.url } });
  await t.component.pushEvent("notify_of_2032", { appid: "wx1", status: 0 });
  const [arrived] = await arrivedAt(prod, 1);
  const [, text = ""] = t.commands.noted.at(-1) ?? [];
  expect(text).toContain("notify_of_2032");
  expect(openedBy(arrived!)).toBe(text);
  // Not encrypted anew: what WeChat has signed.
  const query = arrived!.url.searchParams;
  const { fields } = readPushFields(Buffer.from(arrived!.body));
  const signed = [query.get("timestamp"), query.get("nonce"), fields.get("Encrypt")].map(String);
  expect([fields.get("AppId"), query.get("msg_signature")]).toEqual([COMPONENT, signPush(KEY, ...signed)]);
});

test("a command is answered while its target does not answer at all", async () => {
  const held = Promise.withResolvers<Response>();
  await using slow = new Receiver(() => held.promise);
  await t.set(COMPONENT, idsOf(COMPONENT), { prod: { url: slow.url } });
  await t.component.pushTicket();
  expect(t.last).toEqual(SUCCESS);
  await arrivedAt(slow, 1);
  held.resolve(textReply("never passed on"));
});

test("P6: neither a ticket nor a code reaches a target, whatever it is sent, or what is kept for it", async () => {
  await using original = new Receiver();
  await using own = new Receiver();
  await using clear = new Receiver();
  const key = generatePushKey();
  const sealed = { token: key.token, aesKey: key.encodingAesKey };
  await t.set(COMPONENT, idsOf(COMPONENT), {
    original: { url: original.url },
    own: { url: own.url, content: "reencrypted", ...sealed },
    clear: { url: clear.url, content: "decrypted", hmacKey: key.token },
    laptop: { content: "original" },
  });
  await t.component.pushTicket({ value: "ticket@@@canaryTicket" });
  await t.component.authorize(OFFICIAL);
  const code = /queryauthcode@@@[^\]]+/.exec(t.commands.noted.at(-1)?.[1] ?? "")?.[0] ?? "";
  expect(code).not.toBe("");
  await arrivedAt(own, 2);
  await arrivedAt(clear, 2);
  const [first, second] = await arrivedAt(original, 2);
  // A target that holds the platform's key verifies them as WeChat's.
  const texts = [first, second].map((each) => {
    const request = {
      method: "POST",
      query: each!.url.search.slice(1),
      body: Buffer.from(each!.body),
    } as const;
    const settings = { platform: "weixin", mode: "secure", keys: [KEY], receiveIds: [COMPONENT] } as const;
    const push = verifyPush(settings, request, t.clock.now());
    return push.kind === "push" ? Buffer.from(push.message).toString() : "";
  });
  expect(texts.find((text) => text.includes("component_verify_ticket"))).toContain("ticket@@@withheld");
  expect(texts.find((text) => text.includes("<![CDATA[authorized]]>"))).toMatch(
    /<AuthorizationCode><!\[CDATA\[queryauthcode@@@[0-9a-f]{16}\]\]>/,
  );
  const kept = await Promise.all(
    (await t.deliveries(COMPONENT)).slice(0, 8).map(async ({ id }) => {
      const { request } = (await t.store.deliveries.find({ app: COMPONENT }, id)) ?? {};
      if (!request) return "";
      const { push, request: sent } = readKeptPush(request);
      return `${Buffer.from(push.message).toString()} ${decryptedIn(Buffer.from(sent.body).toString())}`;
    }),
  );
  expect(kept.filter((text) => text !== "")).not.toEqual([]);
  const all = [...texts, ...kept, ...own.arrived.map((each) => openedBy(each, key))];
  const everything = [...all, ...clear.arrived.map(({ body }) => body)].join("\n");
  expect(everything).not.toContain("canaryTicket");
  expect(everything).not.toContain(code);
});

function decryptedIn(body: string): string {
  const encrypted = readPushFields(Buffer.from(body)).fields.get("Encrypt") ?? "";
  return Buffer.from(decryptPush(encrypted, KEY).message).toString();
}

test("trap 17: a command that comes again, with the same signature or a new one, has its effect again and is delivered once", async () => {
  await using prod = new Receiver();
  await t.set(COMPONENT, idsOf(COMPONENT), { prod: { url: prod.url } });
  const before = t.commands.noted.length;
  const command = {
    ...{ AppId: COMPONENT, CreateTime: 1_790_000_007, InfoType: "component_verify_ticket" },
    ComponentVerifyTicket: "ticket@@@again",
  };
  const to = endpoint("weixin", t.url(`${COMPONENT}/auth`), COMPONENT);
  await t.sender.push(to, command, { attempts: 3, isReplayed: true });
  await t.sender.push(to, command);
  expect(t.answered.slice(-4)).toEqual([SUCCESS, SUCCESS, SUCCESS, SUCCESS]);
  expect(t.commands.noted).toHaveLength(before + 4);
  await t.component.pushEvent("marker");
  await arrivedAt(prod, 2);
  expect(prod.arrived).toHaveLength(2);
});

test("P3: a command that could not be stored is not accepted and goes nowhere: WeChat has to send it again", async () => {
  await using prod = new Receiver();
  await t.set(SUITE, idsOf(SUITE), { prod: { url: prod.url } });
  t.commands.isFailing = true;
  const { accepted } = await t.suite.pushTicket({ attempts: 1 });
  expect([accepted, t.last?.status, t.last?.body]).toEqual([false, 503, ""]);
  t.commands.isFailing = false;
  expect((await t.suite.pushTicket()).accepted).toBe(true);
  expect(openedBy((await arrivedAt(prod, 1))[0]!)).toContain("ticket@@@withheld");
  expect(prod.arrived).toHaveLength(1);
});

test.each([
  ["authorized", `${COMPONENT}/auth`],
  ["authorized", COMPONENT],
  ["unauthorized", `${COMPONENT}/auth`],
  ["suite_ticket, a blank before its CDATA section", `${SUITE}/auth`],
  ["reset_permanent_code", `${TEMPLATE}/auth`],
])("the vector %s is taken at /callback/%s", async (name, path) => {
  const before = t.commands.noted.length;
  expect(await sendVector(name, path)).toEqual({ status: 200, body: "success" });
  expect(t.commands.noted.slice(before)).toEqual([[path.split("/")[0]!, vector(name).message!]]);
});

test("trap 26: a command of another platform with the same Token and key is refused", async () => {
  const before = t.commands.noted.length;
  for (const [name, path] of [
    ["suite_ticket, a blank before its CDATA section", `${TEMPLATE}/auth`],
    ["reset_permanent_code", `${SUITE}/auth`],
    ["authorized", `${SUITE}/auth`],
  ] as const)
    expect(await sendVector(name, path)).toEqual(REFUSED);
  // The provider is named for both of its suites: the SuiteId inside decides.
  const create = { SuiteId: TEMPLATE, InfoType: "create_auth", TimeStamp: 1_790_000_000, AuthCode: "c" };
  const push = (path: string) => t.sender.push(endpoint("wecom", t.url(path), PROVIDER), create);
  await push(`${SUITE}/auth`);
  expect(t.last).toMatchObject(REFUSED);
  await push(`${TEMPLATE}/auth`);
  expect(t.last).toEqual(SUCCESS);
  expect(t.commands.noted.slice(before).map(([id]) => id)).toEqual([TEMPLATE]);
});

test("a suite's command that names a corp is refused: it has no effect, and goes to no target", async () => {
  await using world = await PlatformWorld.create();
  await using prod = new Receiver();
  await world.set(SUITE, { receiveIds: [SUITE] }, { prod: { url: prod.url } });
  // A provider that has its own suite is a corp, where its id is not accepted for commands.
  world.hold(authorized(SUITE, PROVIDER));
  const push = async (path: string, corp: string, sent: PushedMessage) => {
    await world.sender.push(endpoint("wecom", world.url(`${SUITE}/${path}`), corp), sent, { attempts: 1 });
    return world.last;
  };
  const create = { SuiteId: SUITE, InfoType: "create_auth", TimeStamp: 1_790_000_001, AuthCode: "code" };
  const { SuiteId: _, ...unnamed } = create;
  for (const [path, corp] of [
    ["auth", CORP],
    ["data", CORP],
    [OTHER, OTHER],
    ["auth", PROVIDER],
  ] as const)
    for (const command of [create, unnamed]) expect(await push(path, corp, command)).toMatchObject(REFUSED);
  expect(world.commands.noted).toEqual([]);
  expect(await world.deliveries(SUITE)).toEqual([]);
  // The corp's messages are taken all the same.
  const text = { ToUserName: CORP, FromUserName: "zhang", CreateTime: 1_790_000_001, MsgType: "text" };
  expect(await push("data", CORP, text)).toEqual(SUCCESS);
  expect(prod.arrived).toHaveLength(1);
});

test("a message is no command, whatever other fields a user has got into it, and goes on as it came", async () => {
  await using prod = new Receiver();
  for (const app of [COMPONENT, SUITE]) await t.set(app, idsOf(app), { prod: { url: prod.url } });
  const before = t.commands.noted.length;
  const end = { AppId: COMPONENT, InfoType: "unauthorized", AuthorizerAppid: OFFICIAL };
  await t.component.pushMessage(OFFICIAL, end);
  const text = { FromUserName: "zhang", MsgType: "text", Content: "x", MsgId: 6n };
  await t.suite.pushData(CORP, { ...text, SuiteId: SUITE, InfoType: "cancel_auth", AuthCorpId: CORP });
  await t.sender.push(
    endpoint("weixin", t.url(`${COMPONENT}/auth`), COMPONENT),
    message({ ...end, MsgId: 74n }),
  );
  expect(t.commands.noted).toHaveLength(before);
  expect(prod.arrived.map((each) => /unauthorized|cancel_auth/.exec(openedBy(each))?.[0])).toEqual([
    "unauthorized",
    "cancel_auth",
    "unauthorized",
  ]);
});

test("a provider is told of any of its suites, at a URL of its own", async () => {
  t.hold(platform(PROVIDER, "provider"));
  await t.set(PROVIDER, {});
  const notice = { ServiceCorpId: PROVIDER, SuiteId: SUITE, InfoType: "unlicensed_notify", TimeStamp: 1 };
  await t.sender.push(endpoint("wecom", t.url(`${PROVIDER}/auth`), PROVIDER), notice);
  expect([t.last, t.commands.noted.at(-1)?.[0]]).toEqual([SUCCESS, PROVIDER]);
});

test("trap 5: the checks of a suite's URLs name the provider, whatever stands for the corp, and WeChat's check of a component's are answered", async () => {
  const {
    encrypted,
    timestamp,
    nonce,
    msgSignature,
    message: echo,
  } = vector("a GET check that names the provider");
  const query = new URLSearchParams({
    ...{ msg_signature: msgSignature!, timestamp: timestamp!, nonce: nonce! },
    echostr: encrypted!,
  }).toString();
  for (const path of ["", "/auth", "/$CORPID$", "/%24CORPID%24", "/data", `/${CORP}`]) {
    const response = await fetch(`${t.url(SUITE + path)}?${query}`);
    expect([path, response.status, await response.text()]).toEqual([path, 200, echo!]);
  }
  for (const which of ["command", "data"] as const) expect((await t.suite.check(which)).accepted).toBe(true);
  const foreign = await t.sender.check(endpoint("wecom", t.url(`${SUITE}/auth`), "wwanother"));
  expect(foreign.verdict).toBe("wrong");
  const ofComponent = checkQuery("weixin", { key: KEY, receiveId: COMPONENT, echo: "42" }, VECTOR_TIME);
  for (const path of ["", "/auth", "/$APPID$", `/${OFFICIAL}`])
    expect(await (await fetch(`${t.url(COMPONENT + path)}?${ofComponent}`)).text()).toBe("42");
});

test("trap 6: an account's message names the component; it goes to the primary as it came, and the reply names the component too", async () => {
  const name = "a component's XML push of WeChat's page";
  const { key, receiveId, nonce, message: text, timestamp } = vector(name);
  const account = "wxba5fad812f8e6fb9";
  await using prod = new Receiver(() => textReply("welcome"));
  await using then = await PlatformWorld.create(Number(timestamp) * 1000);
  then.hold(platform(receiveId, "component"));
  const keys = { token: key.token, aesKey: key.encodingAesKey };
  await then.set(receiveId, keys, { prod: { url: `${prod.url}/$APPID$` } });
  const { status, body } = await sendVector(name, `${receiveId}/${account}`, then);
  const { fields } = readPushFields(Buffer.from(body));
  const opened = decryptPush(fields.get("Encrypt") ?? "", key);
  expect([status, fields.get("Nonce"), opened.receiveId]).toEqual([200, nonce!, receiveId]);
  expect(Buffer.from(opened.message).toString()).toContain("welcome");
  const [arrived] = prod.arrived;
  expect([arrived?.url.pathname, openedBy(arrived!, key)]).toEqual([`/wx/${account}`, text!]);
  // What names the account itself is not the component's.
  await t.sender.push(endpoint("weixin", t.url(`${COMPONENT}/${OFFICIAL}`), OFFICIAL), message());
  expect(t.last).toMatchObject(REFUSED);
});

test("users of an account and of a corp get the reply of the platform's primary, as WeChat and WeCom take it", async () => {
  await using prod = new Receiver(() => textReply("你好"));
  for (const app of [COMPONENT, SUITE]) await t.set(app, idsOf(app), { prod: { url: prod.url } });
  const [attempt] = await t.component.pushMessage(OFFICIAL);
  expect(attempt).toMatchObject({ verdict: "reply", detail: expect.stringContaining("你好") });
  const text = { FromUserName: "zhang", MsgType: "text", Content: "x", MsgId: 5n };
  const { attempts } = await t.suite.pushData(CORP, text);
  expect(attempts).toMatchObject([{ verdict: "reply", detail: expect.stringContaining("你好") }]);
});

test.each(["original", "reencrypted"] as const)(
  "P9: a program with node-easywechat's OpenPlatform, unchanged, answers an account's user, sent the %s push",
  async (content) => {
    const own = content === "original" ? KEY : generatePushKey();
    const [token, aes_key] = [own.token.reveal(), own.encodingAesKey?.reveal() ?? ""];
    await using program = new Receiver(async ({ url, body }) => {
      const platformApp = new OpenPlatform({ app_id: COMPONENT, secret: "s", token, aes_key });
      const app = platformApp.getOfficialAccountWithAccessToken(url.pathname.split("/").at(-1)!, "t");
      app.setRequest(new ServerRequest("POST", url.pathname + url.search, {}, Buffer.from(body)));
      const server = app.getServer();
      server.with(async (pushed: Record<string, string>) => `${pushed["Content"]} ${pushed["MsgId"]}`);
      return new Response((await server.serve()).getBody().toString());
    });
    const keys = content === "original" ? {} : { token: own.token, aesKey: own.encodingAesKey };
    await t.set(COMPONENT, idsOf(COMPONENT), { sdk: { url: `${program.url}/$APPID$`, content, ...keys } });
    const made = await t.component.pushMessage(MINI, { Content: "你好 👋" });
    const detail = expect.stringMatching(/你好 👋 6972028683187\d{6}\D/);
    expect(made).toMatchObject([{ verdict: "reply", status: 200, detail }]);
    expect(program.arrived).toHaveLength(1);
  },
);

test("an account's pushes go by its own routes, where it has none by its platform's, each under the account's id", async () => {
  await using shared = new Receiver();
  await using own = new Receiver();
  const name = `${OFFICIAL}_${COMPONENT}`;
  await t.set(COMPONENT, idsOf(COMPONENT), { prod: { url: `${shared.url}/$APPID$` } });
  await t.set(name, {}, { shop: { url: `${own.url}/$APPID$` } });
  // Two accounts may have messages of one id.
  for (const account of [OFFICIAL, MINI, "wxa000000000000003"]) {
    const { userName } = t.directory.find(`${account}_${COMPONENT}`)?.authorization ?? {};
    const to = endpoint("weixin", t.url(`${COMPONENT}/${account}`), COMPONENT);
    await t.sender.push(to, message({ ToUserName: userName ?? "gh_of_a_new_one" }));
    expect(t.last).toEqual(SUCCESS);
  }
  expect(own.arrived.map(({ url }) => url.pathname)).toEqual([`/wx/${OFFICIAL}`]);
  expect(shared.arrived.map(({ url }) => url.pathname)).toEqual([`/wx/${MINI}`, "/wx/wxa000000000000003"]);
  expect(shared.keys).toEqual([`${MINI}:24000000000000001`, "wxa000000000000003:24000000000000001"]);
  const apps = t.events.flatMap((event) => (event.type === "push.answered" ? [event.app] : []));
  expect(apps.slice(-3)).toEqual([name, `${MINI}_${COMPONENT}`, COMPONENT]);
  // Without routes they are the platform's again.
  await t.set(name, {});
  await t.component.pushMessage(OFFICIAL);
  expect(shared.arrived.at(-1)?.url.pathname).toBe(`/wx/${OFFICIAL}`);
});

test("a delivery that is tried again after a restart still says whose message it is", async () => {
  await using busy = new Receiver(() => new Response(null, { status: 503 }));
  await t.set(COMPONENT, idsOf(COMPONENT), { prod: { url: busy.url } });
  await t.component.pushMessage(MINI);
  const [last] = await t.deliveries(COMPONENT);
  const { request } = (await t.store.deliveries.find({ app: COMPONENT }, last?.id ?? 0)) ?? {};
  expect(readKeptPush(request!).account).toBe(MINI);
});

test("the messages of a suite's corp are the corp's that is named inside, at its URL or at one for all", async () => {
  await using prod = new Receiver();
  await t.set(SUITE, idsOf(SUITE), { prod: { url: `${prod.url}/$CORPID$` } });
  const push = async (path: string, corp: string) => {
    const text = { ToUserName: corp, FromUserName: "zhang", CreateTime: 1_790_000_000, MsgType: "text" };
    await t.sender.push(endpoint("wecom", t.url(`${SUITE}/${path}`), corp), { ...text, Content: path });
    return t.last?.status;
  };
  // A corp that has just installed it is not held yet.
  expect(await push(OTHER, OTHER)).toBe(200);
  for (const path of [CORP, "data", "auth", "$CORPID$"]) expect(await push(path, CORP)).toBe(200);
  for (const path of ["data", "auth", CORP]) expect(await push(path, OTHER)).toBe(403);
  // What names the provider is no corp's, unless the provider has its own suite.
  expect(await push(CORP, PROVIDER)).toBe(200);
  t.hold(authorized(SUITE, PROVIDER));
  expect(await push("data", PROVIDER)).toBe(200);
  const paths = prod.arrived.map(({ url }) => url.pathname.slice("/wx/".length));
  expect(paths).toEqual([OTHER, CORP, CORP, CORP, CORP, SUITE, PROVIDER]);
});

test("one URL for commands and messages will do: what is inside decides", async () => {
  await using prod = new Receiver();
  await t.set(COMPONENT, idsOf(COMPONENT), { prod: { url: `${prod.url}/$APPID$` } });
  const before = t.commands.noted.length;
  await t.sender.push(endpoint("weixin", t.url(`${COMPONENT}/auth`), COMPONENT), message({ MsgId: 71n }));
  const ticket = { AppId: COMPONENT, CreateTime: 1, InfoType: "component_verify_ticket" };
  await t.sender.push(endpoint("weixin", t.url(`${COMPONENT}/${OFFICIAL}`), COMPONENT), ticket);
  const suiteTicket = { SuiteId: SUITE, TimeStamp: 1, InfoType: "suite_ticket" };
  await t.sender.push(endpoint("wecom", t.url(`${SUITE}/data`), SUITE), suiteTicket);
  expect(t.answered.slice(-3)).toEqual([SUCCESS, SUCCESS, SUCCESS]);
  expect(t.commands.noted.slice(before).map(([id]) => id)).toEqual([COMPONENT, SUITE]);
  const paths = (await arrivedAt(prod, 2)).map(({ url }) => url.pathname);
  expect(paths).toEqual([`/wx/${OFFICIAL}`, `/wx/${COMPONENT}`]);
});

test("trap 27: neither the clear part nor the path makes a message another account's", async () => {
  await using prod = new Receiver();
  await t.set(COMPONENT, idsOf(COMPONENT), { prod: { url: `${prod.url}/$APPID$` } });
  await t.set(SUITE, idsOf(SUITE), { prod: { url: `${prod.url}/$CORPID$` } });
  const text = Object.entries(message({ MsgId: 72n })).map(([name, value]) => `<${name}>${value}</${name}>`);
  const push = { message: Buffer.from(`<xml>${text.join("")}</xml>`), format: "xml" } as const;
  const copy = encryptedCopy("weixin", { ...push, receiveId: COMPONENT }, KEY, t.clock.now());
  const send = async (path: string, { query, body }: typeof copy) => {
    const forged = body.replace(/<ToUserName>.*?<\/ToUserName>/, "<ToUserName>gh_000000000002</ToUserName>");
    const clear = forged.replace("</xml>", "<InfoType>unauthorized</InfoType></xml>");
    const response = await fetch(`${t.url(path)}?${query}`, { method: "POST", body: clear });
    return [response.status, await response.text()];
  };
  expect(await send(`${COMPONENT}/${OFFICIAL}`, copy)).toEqual([200, "success"]);
  expect(await send(`${COMPONENT}/${MINI}`, copy)).toEqual([403, ""]);
  expect(await send(`${COMPONENT}/notanappid`, copy)).toEqual([403, ""]);
  const ofCorp = encryptedCopy("wecom", { ...push, receiveId: CORP }, KEY, t.clock.now());
  expect(await send(`${SUITE}/${OTHER}`, ofCorp)).toEqual([200, "success"]);
  expect(prod.arrived.map(({ url }) => url.pathname)).toEqual([`/wx/${OFFICIAL}`, `/wx/${CORP}`]);
});

test("pushes of a disabled platform or account are refused, and nothing stands behind the name of any other app", async () => {
  await using world = await PlatformWorld.create();
  const send = async (path: string, sent = message()) => {
    await world.sender.push(endpoint("weixin", world.url(path), COMPONENT), sent, { attempts: 1 });
    return world.last?.status;
  };
  const ticket = { AppId: COMPONENT, CreateTime: 1, InfoType: "component_verify_ticket" };
  const statuses = async () => [
    await send(`${COMPONENT}/auth`, ticket),
    await send(`${COMPONENT}/${OFFICIAL}`),
    await send(`${COMPONENT}/${MINI}`, message({ ToUserName: "gh_000000000002" })),
  ];
  expect(await statuses()).toEqual([200, 200, 200]);
  const managed = { title: undefined, isDisabled: true, version: 1 };
  world.hold({ ...authorized(COMPONENT, OFFICIAL, { userName: "gh_000000000001" }), managed });
  expect(await statuses()).toEqual([200, 403, 200]);
  // WeChat goes on to push what a lost authorization is about.
  world.hold(authorized(COMPONENT, OFFICIAL, { userName: "gh_000000000001", lostAt: 1 }));
  expect(await statuses()).toEqual([200, 200, 200]);
  world.hold({ ...platform(COMPONENT, "component"), managed });
  expect(await statuses()).toEqual([403, 403, 403]);
  await world.set(`${MINI}_${COMPONENT}`, { receiveIds: [COMPONENT] });
  const plain = message({ MsgId: 73n });
  expect(await send(`${MINI}_${COMPONENT}`, plain)).toBe(200);
  expect(await send(`${MINI}_${COMPONENT}/auth`, plain)).toBe(403);
});
