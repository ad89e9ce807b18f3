import { Elysia } from "elysia";
import { answersOf, app, wecomApp } from "./v1-apps-schema.ts";
import type { Slot } from "../apps/app.ts";
import { ServiceError } from "../errors.ts";
import type { Access } from "../access/access.ts";
import { onBehalf } from "../access/permits.ts";
import { type Call, callOf, Reply, route } from "./face.ts";
import type { GetNotes, GetOptions } from "../credentials/manager.ts";
import type { PageSignature, PageSigner } from "../signing/page-signer.ts";
import type { PageUrl } from "../signing/page-url.ts";
import { type Static, Type } from "@sinclair/typebox";
import { CAUSES } from "../signing/causes.ts";
import { mergeClaims, type PageClaims, readPasted } from "../signing/page-claims.ts";
import type { PageDiagnosis, SignatureDebugger } from "../signing/signature-debugger.ts";
import { signedUrl, url } from "./schema.ts";
import {
  DIAGNOSIS_EXAMPLE,
  diagnosisBody,
  type DiagnosisData,
  diagnosisData,
} from "./v1-diagnosis-schema.ts";

/** What the routes of signatures work with. */
export interface SignatureRouteParts {
  readonly access: Access;
  readonly signer: PageSigner;
  readonly signatureDebugger: SignatureDebugger;
}

/** `/v1/apps/:app/signatures/*`: for `wx.config`, `wx.agentConfig` and the card calls, without handing out a ticket. */
export function signatureRoutes({ access, signer, signatureDebugger }: SignatureRouteParts) {
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
    )
    .post(
      "/diagnose",
      async ({ params, body, request }) => {
        const call = callOf(request);
        const permit = access.slotOfApp(call, "ticket:sign", params.app);
        signatureDebugger.admit(call, permit);
        const claims = claimsIn(body);
        const diagnosis = await signatureDebugger.run(permit, claims);
        return new Reply(toData(params.app, permit.slot, claims, diagnosis), { permit });
      },
      route(
        { guard: (call, { app = "" }) => access.checkGrant(call, "ticket:sign", app) },
        {
          params: signatureParams,
          body: diagnosisBody,
          detail: {
            summary: "Why a page's signature is refused · 诊断invalid signature",
            description:
              "Tries what the page may have signed with the tickets that the app has and had, and with those of other apps that the caller may sign for; says which one it was, what else is wrong, and what is right. Ten a minute for each client. No ticket is in the answer but six characters. 用应用现有和先前的ticket（以及调用方有权签名的其他应用的ticket）逐一尝试页面可能签名的内容，指出是哪一种、还有哪些问题，并给出正确的结果。每个客户端每分钟10次；应答中只有ticket的6个字符。",
            tags: ["v1"],
            responses: answersOf("The diagnosis. 诊断结果。", diagnosisData, DIAGNOSIS_EXAMPLE),
          },
        },
      ),
    );
}

/** @throws {ServiceError} `invalid_parameter` where nothing can be read of what was sent. */
function claimsIn(body: Static<typeof diagnosisBody>): PageClaims {
  const { text, landing_url: landingUrl, app_id: appId, agent_id: agentId, nonce_str: nonce, ...rest } = body;
  const timestamp = rest.timestamp === undefined ? undefined : String(rest.timestamp);
  const claims = mergeClaims(
    { ...rest, landingUrl, appId, agentId, nonce, timestamp },
    readPasted(text ?? ""),
  );
  if (Object.keys(claims).length > 0) return claims;
  throw new ServiceError("invalid_parameter", "没有可供诊断的内容 (there is nothing to diagnose)", {
    hint: "请粘贴wx.config代码、页面地址、报错，或参与签名的字符串 (paste the call of wx.config, the page's address, the error message, or the string that was hashed)",
  });
}

function toData(app: string, slot: Slot, claims: PageClaims, diagnosis: PageDiagnosis): DiagnosisData {
  const { call, url, timestamp, nonce, signature, match, tried, findings } = diagnosis;
  const right = { url, string: diagnosis.text, timestamp, nonce_str: nonce, signature };
  return {
    app,
    call,
    ...(url === "" ? {} : { ...right, config: configOf(slot, diagnosis) }),
    read: {
      url: claims.url,
      href: claims.href,
      landing_url: claims.landingUrl,
      app_id: claims.appId,
      agent_id: claims.agentId,
      timestamp: claims.timestamp,
      nonce_str: claims.nonce,
      signature: claims.signature,
      error: claims.error,
      platform: claims.platform,
    },
    match: match && {
      app: match.ticket.app,
      url: match.url,
      ticket: match.ticket.kind,
      previous: match.ticket.isPrevious ?? false,
      string: match.text,
    },
    tried: { ...tried, other_apps: diagnosis.otherApps },
    causes: findings.map(({ cause, ...finding }) => ({ cause, ...CAUSES[cause], ...finding })),
  };
}

/** The call to copy into the page. */
function configOf({ appId, name }: Slot, { call, timestamp, nonce, signature }: PageDiagnosis): string {
  const isAgent = call === "agentConfig";
  const fields: readonly (readonly [string, unknown])[] = [
    ...(isAgent ? [] : [["debug", true] as const]),
    [isAgent ? "corpid" : "appId", appId],
    ...(isAgent ? [["agentid", name] as const] : []),
    ["timestamp", timestamp],
    ["nonceStr", nonce],
    ["signature", signature],
    ["jsApiList", []],
  ];
  const lines = fields.map(([name, value]) => `  ${name}: ${JSON.stringify(value)},\n`);
  return `wx.${call}({\n${lines.join("")}});`;
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
