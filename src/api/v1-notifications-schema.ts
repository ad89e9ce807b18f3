import { type Static, Type } from "@sinclair/typebox";
import {
  CONDITION_IDS,
  type ConditionId,
  conditionOf,
  SEVERITIES,
  type Severity,
} from "../ops/conditions.ts";
import { CHANNEL_KINDS, type ChannelKind, MESSAGE_KINDS } from "../ops/notifications.ts";
import { instant } from "./schema.ts";

const literals = <T extends string>(values: readonly T[], options: object = {}) =>
  Type.Unsafe<T>(
    Type.Union(
      values.map((each) => Type.Literal(each)),
      options,
    ),
  );

/** A channel's name in a path. */
export const channelName = Type.String({
  minLength: 1,
  maxLength: 32,
  pattern: "^[A-Za-z0-9][A-Za-z0-9._-]*$",
  description: "The channel's name. 渠道名称。",
  examples: ["ops"],
});

const severity = literals<Severity>(SEVERITIES, {
  description: "The least that it is told of. 通知的最低级别。",
  examples: ["warning"],
});

const changeable = {
  enabled: Type.Optional(
    Type.Boolean({ description: "Default true. 是否启用，默认true。", examples: [true] }),
  ),
  min_severity: Type.Optional(severity),
  quiet_hours: Type.Optional(
    Type.Union(
      [
        Type.String({
          pattern: "^([01]\\d|2[0-3]):[0-5]\\d-([01]\\d|2[0-3]):[0-5]\\d$",
          examples: ["23:00-08:00"],
        }),
        Type.Null(),
      ],
      {
        description:
          "Beijing time. What is not critical waits until they end. null: none. 静默时段（北京时间），非critical的通知等到时段结束；null表示没有。",
        examples: ["23:00-08:00"],
      },
    ),
  ),
  mention: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 64 }), {
      maxItems: 20,
      description:
        "Who is mentioned: user ids of WeCom, mobile numbers of DingTalk, open ids of Feishu; or `@all`. 提醒谁：企业微信成员ID、钉钉手机号、飞书open_id，或 `@all`。",
      examples: [["zhangsan"]],
    }),
  ),
  tell_resolved: Type.Optional(
    Type.Boolean({
      description: "Whether it is told when an alarm ends. Default true. 恢复时是否通知，默认true。",
      examples: [true],
    }),
  ),
};
const url = Type.String({
  minLength: 1,
  maxLength: 2048,
  description:
    "As the bot's settings show it; of a webhook any https URL. It is sealed, and shown by its last four characters. 群机器人的Webhook地址，或自己的https地址；加密保存，只显示末4位。",
  examples: ["https://open.feishu.cn/open-apis/bot/v2/hook/00000000-0000-0000-0000-000000000000"],
});
const secret = Type.String({
  minLength: 1,
  maxLength: 256,
  description:
    "What requests are signed with, of DingTalk, Feishu and webhooks. 钉钉、飞书或webhook的签名密钥。",
  examples: ["signing-secret-000000"],
});

/** The body of a new channel. */
export const newChannelBody = Type.Object(
  {
    channel: channelName,
    kind: literals<ChannelKind>(CHANNEL_KINDS, { description: "What it is. 类型。", examples: ["feishu"] }),
    url,
    secret: Type.Optional(secret),
    ...changeable,
  },
  { additionalProperties: false },
);

/** The body of a change. */
export const channelBody = Type.Object(
  {
    url: Type.Optional(url),
    secret: Type.Optional(
      Type.Union([secret, Type.Null()], {
        description: "What requests are signed with; null: none. 签名密钥，null表示没有。",
        examples: ["signing-secret-000000"],
      }),
    ),
    ...changeable,
  },
  { additionalProperties: false },
);

/** A channel as it is shown. */
export const channelData = Type.Object({
  channel: Type.String(),
  kind: Type.String(),
  url: Type.Optional(Type.String({ description: "Its last four characters. 末4位。" })),
  secret: Type.Optional(Type.String({ description: "Its last four characters. 末4位。" })),
  enabled: Type.Boolean(),
  min_severity: Type.String(),
  quiet_hours: Type.Optional(Type.String()),
  mention: Type.Array(Type.String()),
  tell_resolved: Type.Boolean(),
  created_at: instant("When it was made. 创建时间"),
  updated_at: instant("When it was changed last. 更新时间"),
  version: Type.Integer({ description: "Also in the ETag. 与ETag相同。" }),
  damaged: Type.Optional(
    Type.Array(Type.String(), {
      description:
        "What can't be read in the database: nothing is sent until it is set again. 数据库中已损坏的字段；重新设置之前不发送。",
    }),
  ),
});
export type ChannelData = Static<typeof channelData>;

/** What a bot said to a test. */
export const testData = Type.Object({
  ok: Type.Boolean({ description: "Whether it has taken the message. 是否已接收。" }),
  answer: Type.String({ description: "What it said, without any secret. 对方的应答，不含密钥。" }),
  errcode: Type.Optional(Type.Integer()),
  hint: Type.Optional(Type.String({ description: "What to do. 处理办法。" })),
});
export type TestData = Static<typeof testData>;

/** A message that was sent, or waits. */
export const notificationData = Type.Object({
  id: Type.Integer(),
  channel: Type.String(),
  kind: Type.Optional(literals(MESSAGE_KINDS)),
  state: Type.String({ description: "`waiting`, `sent` or `failed`. 等待、已发送或失败。" }),
  attempts: Type.Integer(),
  alarms: Type.Array(
    Type.Object({ condition: Type.String(), subject: Type.String(), state: Type.String() }),
    { description: "At most 15, the worst first. 最多15项，最严重的在前。" },
  ),
  omitted: Type.Integer({ description: "How many more. 另有多少项。" }),
  created_at: instant("When it was made. 创建时间"),
  due_at: Type.Optional(instant("When it is tried next. 下次发送时间")),
  ended_at: Type.Optional(instant("When it ended. 结束时间")),
  answer: Type.Optional(Type.String({ description: "What the channel said last. 最近一次的应答。" })),
});
export type NotificationData = Static<typeof notificationData>;

export const pageQuery = Type.Object({
  channel: Type.Optional(channelName),
  before: Type.Optional(
    Type.String({
      pattern: "^\\d{1,15}$",
      description: "`next` of the page before. 上一页的next。",
      examples: ["41"],
    }),
  ),
  limit: Type.Optional(
    Type.String({
      pattern: "^([1-9]|[1-9]\\d|100)$",
      description: "1 to 100, default 50. 1到100，默认50。",
      examples: ["50"],
    }),
  ),
});

const threshold = Type.Integer({ minimum: 1, maximum: 1_000_000 });

/** A condition as it is shown. */
const conditionData = Type.Object({
  condition: literals(CONDITION_IDS),
  severity: literals<Severity>(SEVERITIES),
  title: Type.String({ description: "In both languages. 中英文。" }),
  remedy: Type.String({ description: "What to do, in both languages. 处理办法，中英文。" }),
  enabled: Type.Boolean(),
  threshold: Type.Optional(Type.Integer()),
  hold: Type.Integer({
    description: "Seconds that it must last before somebody is told. 持续多少秒后通知。",
  }),
  is_default: Type.Boolean({ description: "Whether nobody has changed it. 是否为默认设置。" }),
});
export const conditionsData = Type.Object({
  version: Type.Integer({ description: "Also in the ETag. 与ETag相同。" }),
  conditions: Type.Array(conditionData),
});
export type ConditionsData = Static<typeof conditionsData>;

const choiceOf = (id: ConditionId) => {
  const { title, threshold: changeable, isOn } = conditionOf(id);
  const [, chinese = title, english = title] = /^(.*) \((.*)\)$/.exec(title) ?? [];
  const enabled = Type.Optional(Type.Boolean());
  const fields = { enabled, ...(changeable ? { threshold: Type.Optional(threshold) } : {}) };
  return Type.Union([Type.Object(fields, { additionalProperties: false }), Type.Null()], {
    description: `${english}. ${chinese}。`,
    examples: [changeable ? { enabled: isOn, threshold: changeable.value } : { enabled: isOn }],
  });
};

/** The body of a change of conditions: by their names; null for the default. */
export const conditionsBody = Type.Object(
  Object.fromEntries(CONDITION_IDS.map((id) => [id, Type.Optional(choiceOf(id))])),
  { additionalProperties: false },
);

/** An alarm as it is shown. */
const alarmData = Type.Object({
  condition: literals(CONDITION_IDS),
  severity: literals<Severity>(SEVERITIES),
  about: Type.String({ description: "What the subject is: app, client, node, service. 对象的类别。" }),
  subject: Type.String({
    description: "The app, client or machine; empty for the service. 应用、客户端或主机；空表示服务本身。",
  }),
  state: Type.String({ description: "pending: not told yet; firing. pending为尚未通知。" }),
  since: instant("Since when. 起始时间"),
  told_at: Type.Optional(instant("When channels were told last. 最近通知时间")),
  title: Type.String({ description: "In both languages. 中英文。" }),
  message: Type.String({ description: "What is wrong now. 现状。" }),
  errcode: Type.Optional(Type.Integer()),
  hint: Type.String({ description: "What to do. 处理办法。" }),
  expires_at: Type.Optional(instant("Until when what is there is handed out. 现有凭证的到期时间")),
});
export const alarmsData = Type.Object({
  alarms: Type.Array(alarmData, { description: "The worst first. 最严重的在前。" }),
});
export type AlarmsData = Static<typeof alarmsData>;

export const CHANNEL_EXAMPLE: ChannelData = {
  ...{ channel: "ops", kind: "wecom", url: "…9f3a", enabled: true, min_severity: "info" },
  ...{ quiet_hours: "23:00-08:00", mention: ["zhangsan"], tell_resolved: true },
  ...{ created_at: 1_795_320_000_000, updated_at: 1_795_320_000_000, version: 1 },
};
export const NOTIFICATION_EXAMPLE: NotificationData = {
  ...{ id: 41, channel: "ops", kind: "firing", state: "sent", attempts: 1, omitted: 0 },
  alarms: [{ condition: "app_blocked", subject: "wx0000000000000001", state: "firing" }],
  ...{ created_at: 1_795_320_000_000, ended_at: 1_795_320_021_000, answer: "0 ok" },
};
