import { type Static, Type } from "@sinclair/typebox";
import { LOGIN_CODES, type LoginCodes } from "../access/environments.ts";
import { recordFields } from "./schema.ts";

const production = Type.Boolean({
  description:
    "Whether its programs talk to real users: new clients of it get the policy `all`, else `safe`. Default: whether it is called `prod`, `production`, `prd` or `online`, in any case. 是否为生产环境：其新客户端的接口策略默认为 `all`，否则为 `safe`。默认按名称判断：`prod`、`production`、`prd`、`online`（不区分大小写）。",
  examples: [false],
});
const codes = Type.Unsafe<LoginCodes>(
  Type.Union(
    LOGIN_CODES.map((each) => Type.Literal(each)),
    {
      description:
        "Which codes its web logins bring: `raw` for WeChat's own, `relay` for ours, which its clients alone can exchange. Default `raw` in production, else `relay`. Needs `oauth:manage` to change. 网页登录得到的code：`raw` 为微信的code，`relay` 为本服务的code，只有本环境的客户端可以换取。生产环境默认 `raw`，其余 `relay`。修改须有 `oauth:manage`。",
      examples: ["relay"],
    },
  ),
);

/** The body of a new environment, or of a change. */
export const environmentBody = Type.Object(
  { production: Type.Optional(production), codes: Type.Optional(codes) },
  { additionalProperties: false },
);

/** One environment as it is shown. */
export const environmentData = Type.Object({
  environment: Type.String(),
  production: Type.Boolean(),
  codes: Type.String(),
  ...recordFields(
    "until it is set again it counts as no production, and its codes as `relay`. 数据库中已损坏的字段；重新设置之前视为非生产环境，code按 `relay` 处理。",
  ),
});

/** An environment as it is shown. */
export type EnvironmentData = Static<typeof environmentData>;
