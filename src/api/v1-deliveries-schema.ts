import { type Static, Type } from "@sinclair/typebox";
import { ROUTE_ROLES } from "../callbacks/callback-settings.ts";
import { type Delivery, DELIVERY_STATES } from "../callbacks/delivery-store.ts";
import type { KeptPush } from "../callbacks/kept-push.ts";
import { readPushMessage } from "../callbacks/push-message.ts";
import { ANSWER_MS } from "../callbacks/push-receiver.ts";
import type { TargetContents } from "../callbacks/target-request.ts";
import { instant } from "./schema.ts";

const state = Type.Union(
  DELIVERY_STATES.map((each) => Type.Literal(each)),
  { description: "dead: tried for a day in vain. dead为一天内始终未送达。", examples: ["dead"] },
);
const target = Type.String({
  minLength: 1,
  maxLength: 64,
  pattern: "^[A-Za-z0-9._-]+$",
  description: "A target's name. 目标名称。",
  examples: ["dev"],
});
const environment = Type.String({
  minLength: 1,
  maxLength: 64,
  description: "An environment's name. 环境名称。",
  examples: ["dev"],
});

/** The id of a delivery in a path. */
export const deliveryId = Type.String({
  pattern: "^[1-9]\\d{0,14}$",
  description: "The delivery's id. 投递的编号。",
  examples: ["17"],
});

/** What deliveries are pulled or listed by. */
export const listQuery = Type.Object({
  wait: Type.Optional(
    Type.String({
      pattern: "^(?:\\d|[1-4]\\d|50)$",
      description: "Pull, and wait so many seconds for the first, 0 to 50. 拉取，最多等待的秒数，0到50。",
      examples: ["1"],
    }),
  ),
  state: Type.Optional(state),
  target: Type.Optional(target),
  environment: Type.Optional(environment),
  limit: Type.Optional(
    Type.String({
      pattern: "^(?:[1-9]\\d?|1\\d\\d|200)$",
      description:
        "Deliveries in one answer, 1 to 200, default 100; of a pull at most 20. 每页数量，1到200，默认100；拉取时最多20。",
      examples: ["100"],
    }),
  ),
  after: Type.Optional(
    Type.String({
      pattern: "^[1-9]\\d{0,14}$",
      description: "`next` of the previous answer. 上一次应答中的 `next`。",
      examples: ["17"],
    }),
  ),
});

/** The body of an acknowledgement. */
export const ackBody = Type.Object({
  reply: Type.Optional(
    Type.String({
      maxLength: 64 * 1024,
      description: "The passive reply. 被动回复。",
      examples: ["success"],
    }),
  ),
});

/** Which deliveries are replayed. */
export const replayBody = Type.Object(
  {
    state: Type.Optional(state),
    target: Type.Optional(target),
    environment: Type.Optional(environment),
    after: listQuery.properties.after,
  },
  { additionalProperties: false },
);

/** A delivery as it is shown, without its message. */
const deliveryData = Type.Object({
  id: Type.Integer(),
  app: Type.String(),
  type: Type.String({ description: "MsgType, or InfoType. 消息类型。" }),
  event: Type.String({ description: "Empty for what is no event. 不是事件时为空。" }),
  target: Type.String(),
  environment: Type.String(),
  role: Type.Union(ROUTE_ROLES.map((each) => Type.Literal(each))),
  state: Type.Union(DELIVERY_STATES.map((each) => Type.Literal(each))),
  attempts: Type.Integer(),
  dedupe_key: Type.String({
    description: "The same for all deliveries of one push. 同一条推送的所有投递相同。",
  }),
  received_at: instant("When the push came. 推送到达时间"),
  due_at: Type.Optional(instant("When it is tried next. 下次尝试时间")),
  expires_at: instant("From when on it is dead. 到期时间，之后成为死信"),
  ended_at: Type.Optional(instant("When it ended. 结束时间")),
  error: Type.Optional(Type.String({ description: "Why the last attempt failed. 最近一次失败的原因。" })),
});

/** `deliveryData` of a delivery. */
export function deliveryFields(delivery: Delivery): Static<typeof deliveryData> {
  const { id, app, type, event, role, attempts } = delivery;
  const isWaiting = delivery.state === "waiting";
  return {
    ...{ id, app, type, event, target: delivery.target, environment: delivery.environment, role },
    ...{ state: delivery.state, attempts, dedupe_key: delivery.dedupeKey, received_at: delivery.receivedAt },
    ...(isWaiting ? { due_at: delivery.dueAt } : {}),
    expires_at: delivery.expiresAt,
    ...(delivery.endedAt === undefined ? {} : { ended_at: delivery.endedAt }),
    ...(delivery.error === undefined ? {} : { error: delivery.error }),
  };
}

const account = Type.Optional(
  Type.String({
    description:
      "Of a third-party platform: the AppID or CorpID of whose message it is. 第三方平台：消息所属授权方的appid或corpid。",
  }),
);

const contents = {
  account,
  sender: Type.Optional(Type.String({ description: "The openid, or WeCom's userid. 发送者。" })),
  event_key: Type.Optional(Type.String({ description: "An event's EventKey. 事件的EventKey。" })),
  content: Type.Optional(Type.String({ description: "What a text says. 文本内容。" })),
  query: Type.Optional(Type.String({ description: "Without `?`. 查询字符串。" })),
  content_type: Type.Optional(Type.String()),
  body: Type.Optional(Type.String({ description: "What a target with a URL would be sent. 消息体。" })),
  encoding: Type.Optional(
    Type.Union([Type.Literal("text"), Type.Literal("base64")], {
      description: "Of `body`: base64 where it is no UTF-8. body的编码。",
    }),
  ),
  signature: Type.Optional(
    Type.String({ description: "Of a decrypted push, as x-accesstoken-signature. 解密内容的签名。" }),
  ),
  answer_until: Type.Optional(
    instant("Until when WeChat waits for the reply of a primary. primary须在此之前回复"),
  ),
};

/** Deliveries as they are pulled, or listed: then without contents. */
export const pulledData = Type.Object({
  deliveries: Type.Array(Type.Composite([deliveryData, Type.Object(contents)])),
  next: Type.Optional(Type.String()),
});

/** A delivery with what its target gets; without that where a secret for it is missing. */
export function pulledFields(
  delivery: Delivery,
  given: TargetContents | undefined,
  kept: KeptPush | undefined,
) {
  const until = delivery.role === "primary" ? { answer_until: delivery.receivedAt + ANSWER_MS } : {};
  if (!given || !kept) return { ...deliveryFields(delivery), ...until };
  const { query, contentType, signature } = given;
  const { fromUserName: sender, eventKey, content: text } = readPushMessage(kept.push);
  return {
    ...deliveryFields(delivery),
    ...accountFields(kept),
    ...(sender === undefined ? {} : { sender }),
    ...(eventKey === undefined ? {} : { event_key: eventKey }),
    ...(text === undefined ? {} : { content: text }),
    ...{ query, content_type: contentType, ...textOf(given.body) },
    ...(signature === undefined ? {} : { signature }),
    ...until,
  };
}

/** One delivery, with its message while that is kept. */
export const shownData = Type.Composite([
  deliveryData,
  Type.Object({
    account,
    message: Type.Optional(Type.String({ description: "Decrypted. 解密后的消息。" })),
    message_encoding: Type.Optional(Type.Union([Type.Literal("text"), Type.Literal("base64")])),
  }),
]);

/** Deliveries on the wire: of a list, and one alone. */
export type DeliveryData = Static<typeof deliveryData>;
export type ShownDelivery = Static<typeof shownData>;

/** `shownData` of a delivery. */
export function shownFields(delivery: Delivery, kept: KeptPush | undefined): Static<typeof shownData> {
  if (!kept) return deliveryFields(delivery);
  const { body, encoding } = textOf(kept.push.message);
  return { ...deliveryFields(delivery), ...accountFields(kept), message: body, message_encoding: encoding };
}

function accountFields(kept: Pick<KeptPush, "account"> | undefined): { account?: string } {
  return kept?.account === undefined ? {} : { account: kept.account };
}

function textOf(bytes: Uint8Array): { readonly body: string; readonly encoding: "text" | "base64" } {
  try {
    const body = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return { body, encoding: "text" };
  } catch {
    return { body: Buffer.from(bytes).toString("base64"), encoding: "base64" };
  }
}

/** A delivery for the documentation. */
export const DELIVERY_EXAMPLE = {
  id: 17,
  app: "wx0000000000000001",
  type: "text",
  event: "",
  target: "dev",
  environment: "dev",
  role: "primary",
  state: "waiting",
  attempts: 1,
  dedupe_key: "24000000000000001",
  received_at: 1_795_320_000_000,
  due_at: 1_795_320_030_000,
  expires_at: 1_795_406_400_000,
} as const;

/** A pulled delivery for the documentation. */
export const PULLED_EXAMPLE = {
  ...DELIVERY_EXAMPLE,
  sender: "oAbCdEf0123456789",
  content: "hello",
  query: "",
  content_type: "text/xml; charset=utf-8",
  body: "<xml><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[hello]]></Content></xml>",
  encoding: "text",
  signature: "t=1795320000,v1=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
  answer_until: 1_795_320_004_500,
} as const;
