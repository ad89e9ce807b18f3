import { Elysia } from "elysia";
import { answersOf, app, wecomApp } from "./v1-apps-schema.ts";
import type { Slot } from "../apps/app.ts";
import { type Access, onBehalf } from "../access/access.ts";
import { type Call, callOf, Reply, route } from "./face.ts";
import type { GetNotes, GetOptions } from "../credentials/manager.ts";
import type { PageSignature, PageSigner } from "../signing/page-signer.ts";
import type { PageUrl } from "../signing/page-url.ts";
import { Type } from "@sinclair/typebox";
import { signedUrl, url } from "./schema.ts";

/** What the routes of signatures work with. */
export interface SignatureRouteParts {
  readonly access: Access;
  readonly signer: PageSigner;
}

/** `/v1/apps/:app/signatures/*`: for `wx.config`, `wx.agentConfig` and the card calls, without handing out a ticket. */
export function signatureRoutes({ access, signer }: SignatureRouteParts) {
  const signed = async (
    call: Call,
    app: string,
    sign: (slot: Slot, options: GetOptions) => Promise<PageSignature & Partial<PageUrl>>,
    name = (slot: Slot): object => ({ app_id: slot.appId }),
  ) => {
    const permit = access.slotOfApp(call, "ticket:sign", app);
    const notes: GetNotes = {};
    const signed = await onBehalf(permit, sign(permit.slot, { notes }));
    const { timestamp, nonce, signature, url, hint } = signed;
    const data = { ...name(permit.slot), timestamp, nonce_str: nonce, signature, ...(url && { url }) };
    return new Reply(data, { permit, result: notes.result, hint });
  };
  return new Elysia({ prefix: "/v1/apps/:app/signatures" })
    .post(
      "/jsapi",
      ({ params, body, request }) =>
        signed(callOf(request), params.app, (slot, options) => signer.sign(slot, body.url, options)),
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
      ({ params, body, request }) =>
        signed(
          callOf(request),
          params.app,
          (slot, options) => signer.signAgentConfig(slot, body.url, options),
          // A label of the operator's own is no agentid, and WeCom would refuse it.
          ({ appId, name }) => ({ corp_id: appId, ...(/^\d+$/.test(name) ? { agent_id: name } : {}) }),
        ),
      route(
        { guard: (call, { app = "" }) => access.checkGrant(call, "ticket:sign", app) },
        {
          params: Type.Object({ app: wecomApp }),
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
      ({ params, body, request }) =>
        signed(callOf(request), params.app, (slot, options) => {
          if (body.for === "addCard") {
            const { code, openid: openId, balance } = body;
            return signer.addCard(slot, { cardId: body.card_id, code, openId, balance }, options);
          }
          const { card_id: cardId, card_type: cardType, location_id: locationId } = body;
          return signer.chooseCard(slot, { cardId, cardType, locationId }, options);
        }),
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
            responses: answersOf("The signature. 签名。", cardData, CARD_EXAMPLE),
          },
        },
      ),
    );
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
    card_id: Type.String({
      minLength: 1,
      maxLength: 256,
      pattern: "^[\\x21-\\x7e]+$",
      description: "As in cardExt. 与cardExt一致。",
      examples: ["pExampleCard"],
    }),
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

/** What the card calls are given. */
const cardData = Type.Object({
  app_id: Type.String({ description: "AppID or CorpID. appid或corpid。" }),
  timestamp,
  nonce_str: Type.String(),
  signature: Type.String({ description: "cardSign of chooseCard. chooseCard的cardSign。" }),
});

/** What `wx.config` is given. */
const signatureData = Type.Object({ ...cardData.properties, url: signedUrl });

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
  url: signedUrl,
});

/** Signatures for the documentation. */
const CARD_EXAMPLE = {
  app_id: "wx0000000000000001",
  timestamp: 1414587457,
  nonce_str: "3f1b6a0c9d2e4f58",
  signature: "0f9de62fce790f9a083d5c99e95740ceb90c27ed",
};
const SIGNATURE_EXAMPLE = { ...CARD_EXAMPLE, url: "https://example.com/page?id=1" };
const AGENT_CONFIG_EXAMPLE = {
  corp_id: "ww0000000000000001",
  agent_id: "1000002",
  timestamp: 1414587457,
  nonce_str: "3f1b6a0c9d2e4f58",
  signature: "0f9de62fce790f9a083d5c99e95740ceb90c27ed",
  url: "https://example.com/page?id=1",
};
