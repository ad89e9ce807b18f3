import { expect, test } from "bun:test";
import { signCard, signJsApi } from "../../src/signing/page-signer.ts";
import { CORP, Harness, WX } from "../support/harness.ts";

const URL = "https://example.com/page?a=1%2B2&b=中文";
const APP = `/v1/apps/${WX.appId}`;
const WECOM_APP = `/v1/apps/${CORP}_1000002`;

async function ticketOf(world: Harness, app: string, kind: string): Promise<string> {
  return (await world.get(`${app}/credentials/${kind}`)).data["value"];
}

test.each([
  [APP, WX.appId],
  [WECOM_APP, CORP],
])("a page of %s is signed with the app's jsapi_ticket", async (app, appId) => {
  await using world = await Harness.create();
  const { status, data } = await world.post(`${app}/signatures/jsapi`, { url: `${URL}#part` });
  const ticket = await ticketOf(world, app, "jsapi_ticket");
  const { nonce_str: nonce, timestamp } = data;
  expect([status, data["app_id"], timestamp]).toEqual([200, appId, Math.floor(world.clock.now() / 1000)]);
  expect(data["url"]).toBe(URL);
  expect(data["signature"]).toBe(signJsApi({ ticket, nonce, timestamp, url: URL }));
});

test("agentConfig is signed with the application's own ticket, and names corp and agent", async () => {
  await using world = await Harness.create();
  const { data } = await world.post(`${WECOM_APP}/signatures/agent-config`, { url: URL });
  const { nonce_str: nonce, timestamp, signature, ...named } = data;
  expect(named).toEqual({ corp_id: CORP, agent_id: "1000002", url: URL });
  const ticket = await ticketOf(world, WECOM_APP, "agent_config_ticket");
  expect(signature).toBe(signJsApi({ ticket, nonce, timestamp, url: URL }));
  const labelled = await world.post(`/v1/apps/${CORP}_contacts/signatures/agent-config`, { url: URL });
  expect(Object.keys(labelled.data)).toEqual(["corp_id", "timestamp", "nonce_str", "signature", "url"]);
});

test("addCard and chooseCard are signed with the card ticket over what the call is given", async () => {
  await using world = await Harness.create();
  const add = { for: "addCard", card_id: "pCard", code: "1434008071", openid: "oUser", balance: "" };
  const added = (await world.post(`${APP}/signatures/card`, add)).data;
  const choose = { for: "chooseCard", card_type: "GROUPON", location_id: "1", card_id: "pCard" };
  const chosen = (await world.post(`${APP}/signatures/card`, choose)).data;
  const bare = (await world.post(`${APP}/signatures/card`, { for: "chooseCard" })).data;
  const ticket = await ticketOf(world, APP, "wx_card_ticket");
  const values = ({ timestamp, nonce_str }: Record<string, unknown>) => [
    ticket,
    String(timestamp),
    String(nonce_str),
  ];
  expect(added["signature"]).toBe(signCard([...values(added), "pCard", "1434008071", "oUser"]));
  expect(chosen["signature"]).toBe(signCard([...values(chosen), WX.appId, "1", "pCard", "GROUPON"]));
  expect(bare["signature"]).toBe(signCard([...values(bare), WX.appId]));
  expect(Object.keys(added)).toEqual(["app_id", "timestamp", "nonce_str", "signature"]);
});

test("P8: a hundred signatures of each sort at once cost one token and one ticket of each sort", async () => {
  await using world = await Harness.create();
  const requests = Array.from({ length: 100 }, (_, index) => [
    world.post(`${APP}/signatures/jsapi`, { url: `${URL}&i=${index}` }),
    world.post(`${APP}/signatures/card`, { for: "chooseCard" }),
  ]).flat();
  const nonces = (await Promise.all(requests)).map(({ data }) => data["nonce_str"]);
  expect(new Set(nonces).size).toBe(200);
  expect(world.sandbox.calls("/cgi-bin/stable_token")).toBe(1);
  expect(world.sandbox.calls("/cgi-bin/ticket/getticket")).toBe(2);
});

test("P6: no ticket leaves with a signature", async () => {
  await using world = await Harness.create();
  const text = [
    await world.post(`${APP}/signatures/jsapi`, { url: URL }),
    await world.post(`${APP}/signatures/card`, { for: "addCard", card_id: "pCard" }),
  ].map((answer) => answer.text);
  expect(text.join()).not.toContain(await ticketOf(world, APP, "jsapi_ticket"));
  expect(text.join()).not.toContain(await ticketOf(world, APP, "wx_card_ticket"));
});
