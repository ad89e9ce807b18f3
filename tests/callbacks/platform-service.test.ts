import { afterAll, beforeAll, expect, test } from "bun:test";
import { readPushFields } from "../../src/callbacks/push-fields.ts";
import { verifyPush } from "../../src/callbacks/verify-push.ts";
import { Harness } from "../support/harness.ts";
import { COMPONENT, SHOP } from "../support/platforms.ts";
import { KEY, Receiver, textReply } from "./push-world.ts";

const AES_KEY = KEY.encodingAesKey?.reveal() ?? "";
const NAME = `${SHOP}_${COMPONENT.id}`;
const CALLBACKS = `/v1/apps/${COMPONENT.id}/callbacks`;

let world: Harness;
let prod: Receiver;

/** Asks as the administrator of the machine. */
function ask(method: string, path: string, body?: object) {
  const json = { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  return world.administer(path, { method, ...(body === undefined ? {} : json) });
}

beforeAll(async () => {
  prod = new Receiver(() => textReply("welcome"));
  world = await Harness.create({
    environment: { CALLBACK_NETWORKS: "127.0.0.0/8" },
    sandbox: {
      components: [
        {
          ...{ appId: COMPONENT.id, secret: COMPONENT.secret, token: KEY.token.reveal(), aesKey: AES_KEY },
          authorizers: [
            { appId: SHOP, name: "shop", userName: "gh_000000000001", kind: "official", funcIds: [1] },
          ],
        },
      ],
    },
  });
  await ask("POST", "/v1/platforms", { kind: "component", ...COMPONENT });
  await ask("PUT", CALLBACKS, { token: KEY.token.reveal(), aes_key: AES_KEY });
  const url = `${world.service.url}/callback/${COMPONENT.id}`;
  world.sandbox.component(COMPONENT.id).setUrls({ eventUrl: `${url}/auth`, messageUrl: `${url}/$APPID$` });
});

afterAll(async () => {
  await world[Symbol.asyncDispose]();
  await prod[Symbol.asyncDispose]();
});

test("from the first ticket to a reply: a platform's pushes need nothing but its callbacks", async () => {
  const component = world.sandbox.component(COMPONENT.id);
  expect(await component.pushTicket()).toMatchObject({ accepted: true, status: 200, body: "success" });
  const { data } = await ask("GET", `/v1/platforms/${COMPONENT.id}`);
  expect(data["ticket"]).toMatchObject({ received_at: expect.any(Number) });
  const { push } = await component.authorize(SHOP);
  expect(push).toMatchObject({ accepted: true, body: "success" });
  await Harness.until(async () => {
    world.clock.advance(500);
    return (await ask("GET", `/v1/apps/${NAME}`)).status === 200;
  });
  const target = { environment: "prod", url: `${prod.url}/$APPID$`, content: "original" };
  await ask("PUT", `${CALLBACKS}/targets/prod`, target);
  await ask("PUT", `${CALLBACKS}/routes`, { routes: [{ target: "prod", role: "primary" }] });
  const [attempt] = await component.pushMessage(SHOP);
  expect(attempt).toMatchObject({ verdict: "reply", detail: expect.stringContaining("welcome") });
  expect(prod.arrived.at(-1)?.url.pathname).toBe(`/wx/${SHOP}`);
});

test("P6: a target that is sent the original and what deliveries show have a token in an event withheld, and nothing else changed", async () => {
  const { arrived } = prod;
  await ask("PUT", `${CALLBACKS}/targets/prod`, { environment: "prod", url: prod.url, content: "original" });
  await ask("PUT", `${CALLBACKS}/targets/laptop`, { environment: "dev", content: "original" });
  const routes = ["prod", "laptop"].map((target) => ({ target, role: "copy" }));
  await ask("PUT", `${CALLBACKS}/routes`, { routes });
  const before = arrived.length;
  const fields = { appid: SHOP, what: "<b>&", access_token: "real-token" };
  await world.sandbox.component(COMPONENT.id).pushEvent("notify_of_tomorrow", fields);
  await Harness.until(() => arrived.length > before);
  const { data } = await ask("GET", `/v1/apps/${COMPONENT.id}/deliveries?wait=1`);
  const [{ id, query, body }] = data["deliveries"];
  const shown = await ask("GET", `/v1/apps/${COMPONENT.id}/deliveries/${id}`);
  const { url, body: sent } = arrived.at(-1)!;
  const opened = [
    { query: url.search.slice(1), body: sent },
    { query, body },
  ].map((each) => {
    const settings = { platform: "weixin", mode: "secure", keys: [KEY], receiveIds: [COMPONENT.id] } as const;
    const request = { method: "POST", query: each.query, body: Buffer.from(each.body) } as const;
    const push = verifyPush(settings, request, world.clock.now());
    return push.kind === "push" ? Buffer.from(push.message).toString() : "";
  });
  for (const text of [...opened, String(shown.data["message"])])
    expect(Object.fromEntries(readPushFields(Buffer.from(text)).fields)).toMatchObject({
      ...{ AppId: COMPONENT.id, InfoType: "notify_of_tomorrow" },
      ...{ appid: SHOP, what: "<b>&", access_token: "token@@@withheld" },
    });
});

test("a program that pulls a platform's pushes is told whose each is", async () => {
  await ask("PUT", `${CALLBACKS}/targets/dev`, { environment: "dev", content: "original" });
  await ask("PUT", `${CALLBACKS}/routes`, { routes: [{ target: "dev", role: "copy" }] });
  const component = world.sandbox.component(COMPONENT.id);
  await component.pushMessage(SHOP);
  await component.pushTicket();
  const { data } = await ask("GET", `/v1/apps/${COMPONENT.id}/deliveries?wait=1`);
  expect(data["deliveries"]).toMatchObject([
    { app: COMPONENT.id, account: SHOP, type: "text", dedupe_key: expect.stringContaining(`${SHOP}:`) },
    { app: COMPONENT.id, type: "component_verify_ticket" },
  ]);
  expect(data["deliveries"][1]).not.toHaveProperty("account");
  const [{ id }] = data["deliveries"];
  const shown = await ask("GET", `/v1/apps/${COMPONENT.id}/deliveries/${id}`);
  expect(shown.data).toMatchObject({ account: SHOP, message: expect.stringContaining("你好") });
});

test("a component's token is renewed before it expires, without a caller, while its predecessor is still good", async () => {
  const token = `/v1/apps/${COMPONENT.id}/credentials/component_access_token`;
  const path = "/cgi-bin/component/api_component_token";
  const read = async () => (await ask("GET", token)).data;
  const { value: first, expires_at: expiresAt } = await read();
  world.sandbox.resetCalls();
  world.clock.advance(Number(expiresAt) - world.clock.now() - 601_000);
  await world.service.tick();
  expect(world.sandbox.calls(path)).toBe(0);
  // From ten minutes before its end on, and seven minutes before at the latest.
  world.clock.advance(181_000);
  await world.service.tick();
  await Harness.until(async () => world.sandbox.calls(path) === 1 && (await read())["value"] !== first);
  expect(await read()).toMatchObject({ expires_in: expect.any(Number) });
  expect(world.sandbox.calls(path)).toBe(1);
});
