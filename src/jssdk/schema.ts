import { Type } from "@sinclair/typebox";
import { app } from "../apps/schema.ts";
import { url } from "../protocol/schema.ts";

const value = (description: string, example: string) =>
  Type.Optional(
    Type.String({ maxLength: 256, pattern: "^[\\x21-\\x7e]*$", description, examples: [example] }),
  );

/** The path of an app's signatures. */
export const signatureParams = Type.Object({ app });

/** The body of a page's signature. */
export const pageBody = Type.Object({ url });

/** The body of a card's signature: for which call, and what of the card that call signs. */
export const cardBody = Type.Union([
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
export const signatureData = Type.Object({
  app_id: Type.String({ description: "AppID or CorpID. appid或corpid。" }),
  timestamp,
  nonce_str: Type.String(),
  signature: Type.String({ description: "cardSign of chooseCard. chooseCard的cardSign。" }),
});

/** What `wx.agentConfig` is given. */
export const agentConfigData = Type.Object({
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
export const SIGNATURE_EXAMPLE = {
  app_id: "wx0000000000000001",
  timestamp: 1414587457,
  nonce_str: "3f1b6a0c9d2e4f58",
  signature: "0f9de62fce790f9a083d5c99e95740ceb90c27ed",
};
export const AGENT_CONFIG_EXAMPLE = {
  corp_id: "ww0000000000000001",
  agent_id: "1000002",
  timestamp: 1414587457,
  nonce_str: "3f1b6a0c9d2e4f58",
  signature: "0f9de62fce790f9a083d5c99e95740ceb90c27ed",
};
