import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Access } from "../clients/access.ts";
import type { Authentication } from "../clients/authentication.ts";
import type { JsApiSigner } from "../jssdk/js-api-signer.ts";
import { appId, envelopeOf, secret, url } from "./schema.ts";

/** What the routes of `/JsSDK/*` work with. */
export interface JsSdkRouteParts {
  readonly identity: Authentication["identity"];
  readonly access: Access;
  readonly signer: JsApiSigner;
}

/** `/JsSDK/*`: signatures for `wx.config`. */
export function jsSdkRoutes({ identity, access, signer }: JsSdkRouteParts) {
  return new Elysia({ prefix: "/JsSDK" }).use(identity).post(
    "/getJsApiSign",
    async ({ body, caller }) => {
      const slot = access.weixinSlot(caller, "ticket:sign", body.wx_app_id, body.wx_app_secret);
      const { nonce, timestamp, signature } = await signer.sign(slot, body.url, { notes: caller });
      return { app_id: body.wx_app_id, noncestr: nonce, timestamp, signature };
    },
    {
      body: Type.Object({ wx_app_id: appId, wx_app_secret: Type.Optional(secret), url }),
      detail: {
        summary: "Sign a page for the JS-SDK · 获取JS-SDK签名",
        description:
          "Send location.href.split('#')[0]; give the answer to wx.config (nonceStr is noncestr). 请传location.href.split('#')[0]，结果用于wx.config（nonceStr即noncestr）。",
        tags: ["JsSDK"],
        responses: envelopeOf(
          "The signature. 签名。",
          Type.Object({
            app_id: Type.String(),
            noncestr: Type.String(),
            timestamp: Type.Integer({ description: "Seconds. 秒。" }),
            signature: Type.String(),
          }),
          {
            app_id: "wx0000000000000001",
            noncestr: "3f1b6a0c9d2e4f58",
            timestamp: 1414587457,
            signature: "0f9de62fce790f9a083d5c99e95740ceb90c27ed",
          },
        ),
      },
    },
  );
}
