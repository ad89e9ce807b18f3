import { Elysia } from "elysia";
import { answersOf, app } from "./v1-apps-schema.ts";
import type { Access } from "../access/access.ts";
import { callOf, Reply, route } from "./face.ts";
import type { GetNotes } from "../credentials/manager.ts";
import type { CardSigner } from "../signing/card-signer.ts";
import type { JsApiSignature, JsApiSigner } from "../signing/js-api-signer.ts";
import { Type } from "@sinclair/typebox";
import { url } from "./schema.ts";

/** What the routes of signatures work with. */
export interface SignatureRouteParts {
  readonly access: Access;
  readonly signer: JsApiSigner;
  readonly cards: CardSigner;
}

/** `/v1/apps/:app/signatures/*`: for `wx.config`, `wx.agentConfig` and the card calls, without handing out a ticket. */
export function signatureRoutes({ access, signer, cards }: SignatureRouteParts) {
  return new Elysia({ prefix: "/v1/apps/:app/signatures" })
    .post(
      "/jsapi",
      async ({ params, body, request }) => {
        const permit = access.slotOfApp(callOf(request), "ticket:sign", params.app);
        const { slot } = permit;
        const notes: GetNotes = {};
        const signed = await signer.sign(slot, body.url, { notes });
        const data = { app_id: slot.appId, ...signatureFields(signed) };
        return new Reply(data, { permit, result: notes.result });
      },
      route(
        { guard: (call, { app = "" }) => access.checkGrant(call, "ticket:sign", app) },
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
      ),
    )
    .post(
      "/agent-config",
      async ({ params, body, request }) => {
        const permit = access.slotOfApp(callOf(request), "ticket:sign", params.app);
        const { slot } = permit;
        const notes: GetNotes = {};
        const signed = await signer.signAgentConfig(slot, body.url, { notes });
        // A label of the operator's own is no agentid, and WeCom would refuse it.
        const agentId = /^\d+$/.test(slot.name) ? { agent_id: slot.name } : {};
        const data = { corp_id: slot.appId, ...agentId, ...signatureFields(signed) };
        return new Reply(data, { permit, result: notes.result });
      },
      route(
        { guard: (call, { app = "" }) => access.checkGrant(call, "ticket:sign", app) },
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
      ),
    )
    .post(
      "/card",
      async ({ params, body, request }) => {
        const permit = access.slotOfApp(callOf(request), "ticket:sign", params.app);
        const { slot } = permit;
        const notes: GetNotes = {};
        const { card_id: cardId } = body;
        const options = { notes };
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
        const data = { app_id: slot.appId, ...signatureFields(signed) };
        return new Reply(data, { permit, result: notes.result });
      },
      route(
        { guard: (call, { app = "" }) => access.checkGrant(call, "ticket:sign", app) },
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
      ),
    );
}

function signatureFields({ timestamp, nonce, signature }: JsApiSignature) {
  return { timestamp, nonce_str: nonce, signature };
}

const value = (description: string, example: string) =>
  Type.Optional(
    Type.String({ maxLength: 256, pattern: "^[\\x21-\\x7e]*$", description, examples: [example] }),
  );

/** The path of an app's signatures. */
const signatureParams = Type.Object({ app });

/** The body of a page's signature. */
const pageBody = Type.Object({ url });

/** The body of a card's signature: for which call, and what of the card that call signs. */
const cardBody = Type.Union([
  Type.Object({
    for: Type.Literal("addCard"),
    card_id: Type.String({ minLength: 1, maxLength: 256, pattern: "^[\\x21-\\x7e]+$" }),
    code: value("As in cardExt. 与cardExt一致。", "1434008071"),
    openid: value("As in cardExt. 与cardExt一致。", "oExampleOpenid"),
    balance: value("Red-packet cards only. 仅红包券。", "100"),
  }),
  Type.Object({
    for: Type.Literal("chooseCard"),
    location_id: value("shopId of the call. 调用时的shopId。", "1"),
    card_id: value("cardId of the call. 调用时的cardId。", "pExampleCard"),
    card_type: value("cardType of the call. 调用时的cardType。", "GROUPON"),
  }),
]);

const timestamp = Type.Integer({ description: "Seconds. 秒。" });

/** What `wx.config` and the card calls are given. */
const signatureData = Type.Object({
  app_id: Type.String({ description: "AppID or CorpID. appid或corpid。" }),
  timestamp,
  nonce_str: Type.String(),
  signature: Type.String({ description: "cardSign of chooseCard. chooseCard的cardSign。" }),
});

/** What `wx.agentConfig` is given. */
const agentConfigData = Type.Object({
  corp_id: Type.String(),
  agent_id: Type.Optional(
    Type.String({
      description:
        "Absent when the app is configured under a label that is no agentid. 应用以自定义名称配置时不返回，请自行填写agentid。",
    }),
  ),
  timestamp,
  nonce_str: Type.String(),
  signature: Type.String(),
});

/** Signatures for the documentation. */
const SIGNATURE_EXAMPLE = {
  app_id: "wx0000000000000001",
  timestamp: 1414587457,
  nonce_str: "3f1b6a0c9d2e4f58",
  signature: "0f9de62fce790f9a083d5c99e95740ceb90c27ed",
};
const AGENT_CONFIG_EXAMPLE = {
  corp_id: "ww0000000000000001",
  agent_id: "1000002",
  timestamp: 1414587457,
  nonce_str: "3f1b6a0c9d2e4f58",
  signature: "0f9de62fce790f9a083d5c99e95740ceb90c27ed",
};
