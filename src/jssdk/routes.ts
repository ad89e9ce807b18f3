import { Elysia } from "elysia";
import { answersOf } from "../apps/schema.ts";
import type { Access } from "../clients/access.ts";
import type { Authentication } from "../clients/authentication.ts";
import type { CardSigner } from "./card-signer.ts";
import type { JsApiSignature, JsApiSigner } from "./js-api-signer.ts";
import {
  AGENT_CONFIG_EXAMPLE,
  agentConfigData,
  cardBody,
  pageBody,
  SIGNATURE_EXAMPLE,
  signatureData,
  signatureParams,
} from "./schema.ts";

/** What the routes of signatures work with. */
export interface SignatureRouteParts {
  readonly identity: Authentication["identity"];
  readonly access: Access;
  readonly signer: JsApiSigner;
  readonly cards: CardSigner;
}

/** `/v1/apps/:app/signatures/*`: for `wx.config`, `wx.agentConfig` and the card calls, without handing out a ticket. */
export function signatureRoutes({ identity, access, signer, cards }: SignatureRouteParts) {
  return new Elysia({ prefix: "/v1/apps/:app/signatures" })
    .use(identity)
    .post(
      "/jsapi",
      async ({ params, body, caller }) => {
        const slot = access.slotOfApp(caller, "ticket:sign", params.app);
        const signed = await signer.sign(slot, body.url, { notes: caller });
        return { app_id: slot.appId, ...signatureFields(signed) };
      },
      {
        params: signatureParams,
        body: pageBody,
        detail: {
          summary: "Sign a page for wx.config · wx.config签名",
          description:
            "Send location.href.split('#')[0]. wx.config takes app_id as appId and nonce_str as nonceStr. 请传location.href.split('#')[0]；app_id即appId，nonce_str即nonceStr。",
          tags: ["v1"],
          responses: answersOf("The signature. 签名。", signatureData, SIGNATURE_EXAMPLE),
        },
      },
    )
    .post(
      "/agent-config",
      async ({ params, body, caller }) => {
        const slot = access.slotOfApp(caller, "ticket:sign", params.app);
        const signed = await signer.signAgentConfig(slot, body.url, { notes: caller });
        // A label of the operator's own is no agentid, and WeCom would refuse it.
        const agentId = /^\d+$/.test(slot.name) ? { agent_id: slot.name } : {};
        return { corp_id: slot.appId, ...agentId, ...signatureFields(signed) };
      },
      {
        params: signatureParams,
        body: pageBody,
        detail: {
          summary: "Sign a page for wx.agentConfig of WeCom · 企业微信wx.agentConfig签名",
          description:
            "Send location.href.split('#')[0]. wx.agentConfig takes corp_id as corpid, agent_id as agentid and nonce_str as nonceStr. 请传location.href.split('#')[0]；corp_id即corpid，agent_id即agentid，nonce_str即nonceStr。",
          tags: ["v1"],
          responses: answersOf("The signature. 签名。", agentConfigData, AGENT_CONFIG_EXAMPLE),
        },
      },
    )
    .post(
      "/card",
      async ({ params, body, caller }) => {
        const slot = access.slotOfApp(caller, "ticket:sign", params.app);
        const { card_id: cardId } = body;
        const options = { notes: caller };
        const signed =
          body.for === "addCard"
            ? await cards.addCard(
                slot,
                { cardId: body.card_id, code: body.code, openId: body.openid, balance: body.balance },
                options,
              )
            : await cards.chooseCard(
                slot,
                { cardId, cardType: body.card_type, locationId: body.location_id },
                options,
              );
        return { app_id: slot.appId, ...signatureFields(signed) };
      },
      {
        params: signatureParams,
        body: cardBody,
        detail: {
          summary: "Sign a card call · 卡券签名",
          description:
            "`for` addCard: `signature` for cardExt. `for` chooseCard (also chooseInvoice): `signature` is cardSign, signType is SHA1. Give the call the same values that were sent here. addCard：`signature` 用于cardExt；chooseCard（及chooseInvoice）：`signature` 即cardSign，signType为SHA1；调用时的参数须与此处一致。",
          tags: ["v1"],
          responses: answersOf("The signature. 签名。", signatureData, SIGNATURE_EXAMPLE),
        },
      },
    );
}

function signatureFields({ timestamp, nonce, signature }: JsApiSignature) {
  return { timestamp, nonce_str: nonce, signature };
}
