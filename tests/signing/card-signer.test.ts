import { expect, test } from "bun:test";
import type { Slot } from "../../src/apps/app.ts";
import { credentialKey, type CredentialRef } from "../../src/credentials/credential.ts";
import { CachedCredential } from "../../src/credentials/credential-cache.ts";
import { PageSigner, signCard, signJsApi } from "../../src/signing/page-signer.ts";
import { Secret } from "../../src/secret.ts";
import { ManualClock } from "../support/manual-clock.ts";

const WEIXIN: Slot = {
  platform: "weixin",
  appId: "wx1",
  name: "stable",
  secret: new Secret("secret"),
  tokenMode: "stable",
  configured: true,
};
const WECOM: Slot = { ...WEIXIN, platform: "wecom", appId: "ww1", name: "1000002" };

function setup() {
  const clock = new ManualClock(1_404_896_688_999);
  const asked: string[] = [];
  const get = async (ref: CredentialRef) => {
    asked.push(credentialKey(ref));
    const now = clock.now();
    const credential = { value: new Secret(`ticket-${ref.kind}`), issuedAt: now, expiresAt: now + 7_200_000 };
    return new CachedCredential(credential, 1, clock);
  };
  const signer = new PageSigner({ get }, clock);
  return { asked, cards: signer, pages: signer };
}

test("addCard is signed with the card ticket over what the card has, in whole seconds", async () => {
  const { cards, asked } = setup();
  const card = { cardId: "card", code: "1434008071", openId: "openid", balance: "100" };
  const { nonce, timestamp, signature } = await cards.addCard(WEIXIN, card);
  expect(asked).toEqual(["weixin:wx1:stable:wx_card_ticket"]);
  expect(timestamp).toBe(1_404_896_688);
  const values = ["ticket-wx_card_ticket", "1404896688", nonce, "card", "1434008071", "openid", "100"];
  expect(signature).toBe(signCard(values));
});

test("addCard of a card without code and openid signs neither", async () => {
  const { nonce, signature } = await setup().cards.addCard(WEIXIN, { cardId: "card" });
  expect(signature).toBe(signCard(["ticket-wx_card_ticket", "1404896688", nonce, "card"]));
});

test("chooseCard signs the app too, and works with nothing to choose by", async () => {
  const { cards } = setup();
  const full = await cards.chooseCard(WEIXIN, { locationId: "1", cardId: "card", cardType: "GROUPON" });
  const values = ["ticket-wx_card_ticket", "1404896688", full.nonce, "wx1", "1", "card", "GROUPON"];
  expect(full.signature).toBe(signCard(values));
  const bare = await cards.chooseCard(WEIXIN, {});
  expect(bare.signature).toBe(signCard(["ticket-wx_card_ticket", "1404896688", bare.nonce, "wx1"]));
});

test("agentConfig is signed with the application's own ticket, and no app of WeChat has one", async () => {
  const { pages, asked } = setup();
  const url = "https://example.com/page?id=1";
  const { nonce, timestamp, signature } = await pages.signAgentConfig(WECOM, `${url}#part`);
  expect(asked).toEqual(["wecom:ww1:1000002:agent_config_ticket"]);
  expect(signature).toBe(signJsApi({ ticket: "ticket-agent_config_ticket", nonce, timestamp, url }));
  const refused = pages.signAgentConfig(WEIXIN, url).catch((error: unknown) => error);
  expect(await refused).toMatchObject({ code: "invalid_parameter" });
  expect(asked).toHaveLength(1);
});
