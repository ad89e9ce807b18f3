import { Type } from "@sinclair/typebox";
import { app } from "../apps/schema.ts";
import { CREDENTIAL_KINDS } from "./credential.ts";

/** The path of one credential. */
export const credentialParams = Type.Object({
  app,
  kind: Type.Union(
    CREDENTIAL_KINDS.map((kind) => Type.Literal(kind)),
    {
      description:
        "access_token, jsapi_ticket, wx_card_ticket, or agent_config_ticket (WeCom only). 凭证种类；agent_config_ticket仅企业微信。",
      examples: ["access_token"],
    },
  ),
});

/** The body of a refresh. */
export const refreshBody = Type.Object({
  force: Type.Optional(
    Type.Boolean({
      description:
        "Stable tokens: make a new one now (20 a day, 30 s apart). 稳定版token：立即生成新token（每日20次，间隔30秒）。",
      examples: [true],
    }),
  ),
});

/** The body of a replacement. */
export const replaceBody = Type.Object({
  rejected: Type.String({
    minLength: 1,
    maxLength: 2048,
    pattern: "^[\\x21-\\x7e]+$",
    description: "The value that WeChat refused. 被微信拒绝的值。",
    examples: ["70_exampleToken"],
  }),
});

/** A credential as it is handed out. */
export const credentialData = Type.Object({
  value: Type.String(),
  expires_in: Type.Integer({ description: "Seconds left. 剩余秒数。" }),
  expires_at: Type.Integer({ description: "When it ends. 到期时间（毫秒时间戳）。" }),
  issued_at: Type.Integer({ description: "When it was asked for. 获取时间（毫秒时间戳）。" }),
});

/** A credential for the documentation. */
export const CREDENTIAL_EXAMPLE = {
  value: "70_exampleToken",
  expires_in: 7140,
  expires_at: 1795327200000,
  issued_at: 1795320000000,
};
