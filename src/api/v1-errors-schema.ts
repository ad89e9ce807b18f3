import { type Static, Type } from "@sinclair/typebox";
import { meaningsOf } from "./errcodes.ts";
import { app } from "./v1-apps-schema.ts";

/** An error as somebody has it, and the app to ask WeChat about its rid. */
export const explainBody = Type.Object({
  text: Type.String({
    minLength: 1,
    maxLength: 32_768,
    description: "Anything with an errcode or a rid in it. 含有errcode或rid的任何内容。",
    // Without a rid, so that it works for whoever may not call WeChat.
    examples: ['{"errcode":40003,"errmsg":"invalid openid"}'],
  }),
  app: Type.Optional({
    ...app,
    description:
      "Whose rid it is: WeChat is asked then, which needs api:call. rid所属的应用；给出时会询问微信，须有api:call权限。",
  }),
});

const text = Type.String();

/** The answer. */
export const explainData = Type.Object({
  errors: Type.Array(
    Type.Object({
      errcode: Type.Integer(),
      platform: Type.Union([Type.Literal("weixin"), Type.Literal("wecom")]),
      errmsg: text,
      message: Type.String({ description: "What it means. 含义。" }),
      fix: Type.Optional(Type.String({ description: "What to do. 处理办法。" })),
    }),
    { description: "What each errcode means, on each platform that has it. 各errcode在各平台的含义。" },
  ),
  unknown: Type.Array(Type.Integer(), { description: "Errcodes that are not known here. 未收录的errcode。" }),
  rid: Type.Optional(Type.String({ description: "The request id that was found. 找到的rid。" })),
  request: Type.Optional(
    Type.Object(
      {
        invoked_at: Type.Integer({ description: "Epoch milliseconds. 毫秒时间戳。" }),
        duration_ms: Type.Integer(),
        url: text,
        request_body: text,
        response_body: text,
        client_ip: text,
      },
      {
        description:
          "What WeChat keeps of that request, for seven days; tokens and secrets masked. 微信保存7天的该次请求；token和secret已隐去。",
      },
    ),
  ),
});

/** As the console has it. */
export type Explanation = Static<typeof explainData>;

/** For the documentation. */
export const EXPLAIN_EXAMPLE: Explanation = {
  errors: [...meaningsOf(40003)],
  unknown: [],
  rid: "6aac005a-01bfdbee-79769285",
  request: {
    invoked_at: 1796032372000,
    duration_ms: 12,
    url: "cgi-bin/user/info?access_token=***&openid=oExampleOpenid",
    request_body: "",
    response_body: '{"errcode":40003,"errmsg":"invalid openid rid: 6aac005a-01bfdbee-79769285"}',
    client_ip: "203.0.113.7",
  },
};
