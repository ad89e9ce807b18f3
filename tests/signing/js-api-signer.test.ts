import { expect, test } from "bun:test";
import { credentialKey, type CredentialRef } from "../../src/credentials/credential.ts";
import { CachedCredential } from "../../src/credentials/credential-cache.ts";
import { PageSigner, signJsApi } from "../../src/signing/page-signer.ts";
import { Secret } from "../../src/secret.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { refusal } from "../support/refusals.ts";
import { weixinSlot } from "../support/slots.ts";

const URL = "https://example.com/page?id=1";

function setup(failure?: Error) {
  const clock = new ManualClock(1_414_587_457_999);
  const asked: string[] = [];
  const get = async (ref: CredentialRef) => {
    asked.push(credentialKey(ref));
    if (failure) throw failure;
    const credential = {
      value: new Secret("ticket"),
      issuedAt: clock.now(),
      expiresAt: clock.now() + 7_200_000,
    };
    return new CachedCredential(credential, 1, clock);
  };
  return { signer: new PageSigner({ get }, clock), asked };
}

test("a page is signed with the app's ticket, in whole seconds, and the parts that are returned verify", async () => {
  const { signer, asked } = setup();
  const { nonce, timestamp, signature } = await signer.sign(weixinSlot(), URL);
  expect(asked).toEqual(["weixin:wx1:stable:jsapi_ticket"]);
  expect(timestamp).toBe(1_414_587_457);
  expect(signature).toBe(signJsApi({ ticket: "ticket", nonce, timestamp, url: URL }));
});

test("each signature has a nonce of its own", async () => {
  const { signer } = setup();
  const all = await Promise.all(Array.from({ length: 100 }, () => signer.sign(weixinSlot(), URL)));
  expect(new Set(all.map(({ nonce }) => nonce)).size).toBe(100);
  for (const { nonce } of all) expect(nonce).toMatch(/^[0-9a-f]{16}$/);
});

test("a ticket that can't be had is the caller's answer, not a signature", async () => {
  const failure = refusal("permission", 48001);
  expect(
    await setup(failure)
      .signer.sign(weixinSlot(), URL)
      .catch((error: unknown) => error),
  ).toBe(failure);
});
