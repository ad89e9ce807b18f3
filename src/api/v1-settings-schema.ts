import { type Static, Type } from "@sinclair/typebox";

/** A variable as it is shown: without anything secret. */
const variable = Type.Object({
  name: Type.String(),
  value: Type.String({
    description:
      "`[secret]` in the place of what is secret; empty for none. 机密部分显示为 `[secret]`；空表示没有。",
  }),
  origin: Type.Union([Type.Literal("environment"), Type.Literal("file"), Type.Literal("default")], {
    description:
      "Who says so: the environment, the file of ENV_FILE, or nobody. 由环境变量、ENV_FILE所指文件，还是默认值决定。",
  }),
  file: Type.Optional(Type.String({ description: "The file's path. 文件路径。" })),
  line: Type.Optional(Type.Integer({ description: "The line, the first being 1. 行号，从1开始。" })),
  meaning: Type.Optional(
    Type.Object({ en: Type.String(), zh: Type.String() }, { description: "What it means. 含义。" }),
  ),
});

/** The configuration as it is shown. */
export const configurationData = Type.Object({
  host: Type.String({ description: "The machine of the process that answers. 应答进程所在的主机名。" }),
  version: Type.String(),
  variables: Type.Array(variable),
  apps: Type.Integer({
    description:
      "How many apps the variables configure; their variables are not listed. 由变量配置的应用数；这些变量不列出。",
  }),
  warnings: Type.Array(Type.String(), {
    description: "What is odd about the configuration. 配置中的疑点。",
  }),
});
/** The configuration on the wire. */
export type Configuration = Static<typeof configurationData>;

const anonymous = Type.Union([Type.Literal("on"), Type.Literal("off")], {
  description:
    "Whether callers from TRUSTED_NETWORKS are answered without a key. 是否应答可信网络内没有密钥的调用方。",
  examples: ["off"],
});
const by = Type.Union([Type.Literal("environment"), Type.Literal("database")], {
  description:
    "Where that is said; the environment wins. 由环境变量还是数据库决定；设置了环境变量时以其为准。",
});

const origins = Type.Array(Type.String({ maxLength: 300 }), {
  maxItems: 100,
  description:
    "Origins whose pages may call the signature routes from the browser. 允许其网页在浏览器中调用签名接口的源。",
  examples: [["https://www.example.com"]],
});

/** The settings as they are shown. */
export const settingsData = Type.Object({
  anonymous,
  anonymous_by: by,
  cors_origins: origins,
  cors_origins_by: Type.Union(by.anyOf, {
    description:
      "Where they are listed; the database takes the place of CORS_ORIGINS. 由何处列出；数据库中的列表取代CORS_ORIGINS。",
  }),
});

/** The settings on the wire. */
export type Settings = Static<typeof settingsData>;

/** What of the settings is changed. */
export const settingsBody = Type.Object(
  {
    anonymous: Type.Optional(anonymous),
    cors_origins: Type.Optional(
      Type.Union([origins, Type.Null()], {
        description:
          "A list in the place of CORS_ORIGINS; null for CORS_ORIGINS. 取代CORS_ORIGINS的列表；null恢复为CORS_ORIGINS。",
        examples: [["https://www.example.com"]],
      }),
    ),
  },
  { additionalProperties: false },
);

/** Callers without a key as they are shown. */
export const callersData = Type.Object({
  since: Type.Integer({ description: "Epoch milliseconds. 毫秒时间戳。" }),
  callers: Type.Array(
    Type.Object({
      caller: Type.String({
        description:
          "`(anonymous 10.0.0.8)`, the address of the caller; `(anonymous)` for what was not counted by address. 调用方地址；未按地址统计的合计在 `(anonymous)` 下。",
      }),
      app: Type.String(),
      count: Type.Integer(),
    }),
  ),
});

/** Callers without a key on the wire. */
export type AnonymousCallers = Static<typeof callersData>;

/** For the documentation. */
export const SETTINGS_EXAMPLE = {
  anonymous: "off",
  anonymous_by: "database",
  cors_origins: ["https://www.example.com"],
  cors_origins_by: "database",
} as const;
export const CONFIGURATION_EXAMPLE = {
  host: "token-a",
  version: "0.1.0",
  variables: [
    {
      name: "PORT",
      value: "3000",
      origin: "default",
      meaning: { en: "Port to listen on.", zh: "监听端口。" },
    },
    { name: "MASTER_KEY", value: "[secret]", origin: "file", file: "/etc/accesstoken/env", line: 3 },
  ],
  apps: 2,
  warnings: [],
} as const;
