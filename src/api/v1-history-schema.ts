import { type Static, Type } from "@sinclair/typebox";
import { CALLERS_DAYS, MAX_ATTEMPTS, MAX_POINTS } from "../credentials/app-history.ts";
import { REFRESH_TRIGGERS, SERIES } from "../credentials/refresh-log.ts";

const instant = (description: string, example: string) =>
  Type.Optional(Type.String({ pattern: "^\\d{1,15}$", description, examples: [example] }));

/** Which history. */
export const historyQuery = Type.Object({
  from: instant(
    "From this instant on, epoch milliseconds; default a day before `to`. 起始时刻（含），毫秒时间戳，默认为 `to` 之前一天。",
    "1795233600000",
  ),
  to: instant("Before this instant, default now. 截止时刻（不含），默认当前。", "1795320000000"),
  step: Type.Optional(
    Type.Union([Type.Literal("hour"), Type.Literal("day")], {
      description: `How far apart the points are: \`hour\`, or \`day\` of Beijing. Default \`hour\`, and \`day\` where that would be more than ${MAX_POINTS} points. 点的间隔：小时，或北京时间的日；默认小时，超过${MAX_POINTS}个点时为日。`,
      examples: ["hour"],
    }),
  ),
});

const points = (description: string) =>
  Type.Array(Type.Tuple([Type.Integer(), Type.Integer()]), { description, maxItems: MAX_POINTS });

const DESCRIPTIONS: Readonly<Record<(typeof SERIES)[number], string>> = {
  refreshes: "Credentials that were obtained. 获取成功的次数。",
  failures: "Attempts that failed. 获取失败的次数。",
  uses: "Tokens, tickets and signatures that were handed out. 发放token、票据和签名的次数。",
  gateway: "Calls through the gateway. 经网关的调用次数。",
  calls: "Requests to WeChat of any kind; on WeCom of the whole corp. 发往微信的请求数；企业微信按企业合计。",
};

const series = Object.fromEntries(SERIES.map((name) => [name, points(DESCRIPTIONS[name])])) as Record<
  (typeof SERIES)[number],
  ReturnType<typeof points>
>;

/** What happened to an app, as it is shown. */
export const historyData = Type.Object({
  from: Type.Integer({ description: "When the first step begins. 第一个间隔的起点（毫秒时间戳）。" }),
  to: Type.Integer({ description: "Epoch milliseconds. 毫秒时间戳。" }),
  step: Type.Union([Type.Literal("hour"), Type.Literal("day")]),
  series: Type.Object(series, {
    description:
      "Pairs of when a step began and a count; steps without any are left out. Of the last 90 days. 间隔起点与次数；次数为0的间隔省略；保留90天。",
  }),
  callers: Type.Array(
    Type.Object({
      client: Type.String({
        description: "A client, or any other caller in parentheses. 客户端；括号中为非客户端的身份。",
      }),
      environment: Type.Optional(Type.String({ description: "The client's. 所属环境。" })),
      uses: Type.Integer(),
    }),
    {
      description: `Who used the app, most often first; of a longer period in its last ${CALLERS_DAYS} days. 使用该应用的调用方，多者在前；时间段更长时为其最后${CALLERS_DAYS}天。`,
    },
  ),
  attempts: Type.Array(
    Type.Object({
      at: Type.Integer({ description: "When it began (epoch milliseconds). 开始时刻（毫秒时间戳）。" }),
      kind: Type.String({ description: "Of the credential. 凭证种类。" }),
      trigger: Type.Union(
        REFRESH_TRIGGERS.map((trigger) => Type.Literal(trigger)),
        {
          description:
            "ahead: before the one before expired; on_demand: a caller needed it; forced: an administrator; replaced: WeChat rejected the one before; pushed: WeChat sent it. ahead：到期前自动续期；on_demand：调用方需要；forced：手动刷新；replaced：上一个被微信拒绝；pushed：微信推送。",
        },
      ),
      outcome: Type.String({ description: "`ok`, or what went wrong. `ok` 或失败原因。" }),
      errcode: Type.Optional(Type.Integer({ description: "WeChat's. 微信的errcode。" })),
      duration_ms: Type.Integer(),
      generation: Type.Optional(Type.Integer({ description: "Of what was stored. 存储后的代次。" })),
      host: Type.Optional(Type.String({ description: "The machine that asked. 发起请求的主机。" })),
    }),
    {
      maxItems: MAX_ATTEMPTS,
      description:
        "The newest attempts to obtain a credential, newest first, of the last 14 days. 最近的获取记录，新的在前，保留14天。",
    },
  ),
});

/** The same as a type. */
export type HistoryData = Static<typeof historyData>;

/** A history for the documentation. */
export const HISTORY_EXAMPLE: HistoryData = {
  from: 1_795_233_600_000,
  to: 1_795_320_000_000,
  step: "hour",
  series: {
    refreshes: [[1_795_316_400_000, 1]],
    failures: [],
    uses: [
      [1_795_312_800_000, 410],
      [1_795_316_400_000, 396],
    ],
    gateway: [],
    calls: [[1_795_316_400_000, 13]],
  },
  callers: [{ client: "order-service", environment: "prod", uses: 806 }],
  attempts: [
    {
      at: 1_795_316_520_000,
      kind: "access_token",
      trigger: "ahead",
      outcome: "ok",
      duration_ms: 143,
      generation: 1_795_320_000_001,
      host: "token-a",
    },
  ],
};
