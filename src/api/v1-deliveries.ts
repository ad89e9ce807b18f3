import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Access } from "../access/access.ts";
import { onBehalf, type Permit } from "../access/permits.ts";
import { appName } from "../apps/app.ts";
import { actorOf } from "../access/principal.ts";
import type { AuditAction, AuditEntry } from "../audit/audit-entry.ts";
import type { AuditTrail } from "../audit/audit-trail.ts";
import type { CallbackDirectory } from "../callbacks/callback-directory.ts";
import { findTarget, type Target } from "../callbacks/callback-settings.ts";
import type { DeliveryFilter, DeliveryStore, OpenDelivery } from "../callbacks/delivery-store.ts";
import { readKeptPush } from "../callbacks/kept-push.ts";
import type { PulledDeliveries } from "../callbacks/pulled-deliveries.ts";
import { answerOf, SUCCESS } from "../callbacks/push-reply.ts";
import { contentsFor } from "../callbacks/target-request.ts";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import { dropEmpty } from "./body.ts";
import { type Call, callOf, Reply, route, type RouteRules } from "./face.ts";
import { answersOf, app } from "./v1-apps-schema.ts";
import {
  ackBody,
  DELIVERY_EXAMPLE,
  deliveryFields,
  deliveryId,
  listQuery,
  PULLED_EXAMPLE,
  pulledData,
  pulledFields,
  replayBody,
  shownData,
  shownFields,
} from "./v1-deliveries-schema.ts";

/** How many deliveries a page has, a puller gets at once, and one request replays. */
const PAGE = 100;
const MAX_PULLED = 20;
const MAX_REPLAYED = 1000;
/** Longer than the longest wait. */
const WAIT_SECONDS = 60;

/** What the routes of deliveries work with. */
export interface DeliveryRouteParts {
  readonly access: Access;
  readonly audit: Pick<AuditTrail, "record">;
  readonly clock: Clock;
  readonly callbacks: Pick<CallbackDirectory, "of">;
  readonly queue: DeliveryStore;
  readonly pulled: PulledDeliveries;
}

/** Who asks, and whose deliveries that may be about: those of one environment, or undefined for all. */
interface Receiver {
  /** The app's public name: an account that one platform alone has may be called by its AppID. */
  readonly name: string;
  readonly permit: Permit;
  readonly environment: string | undefined;
}

/** `/v1/apps/:app/deliveries`: see, pull, acknowledge, replay and drop deliveries of pushes. */
export function deliveryRoutes({ access, audit, clock, callbacks, queue, pulled }: DeliveryRouteParts) {
  const known: RouteRules = { guard: (call, { app: name = "" }) => access.checkReceiver(call, name) };

  const receiverOf = (call: Call, app: string): Receiver => {
    const receiver = access.receiver(call, app);
    return { ...receiver, name: appName(receiver.permit.slot) };
  };
  const targetsOf = (name: string): readonly Target[] => callbacks.of(name)?.targets ?? [];
  /** Throws for what is another environment's. */
  const checkEnvironment = ({ name, permit, environment }: Receiver, of: string): void => {
    if (environment !== undefined && environment !== of)
      throw access.notGranted(permit.principal, "callback:manage", name);
  };
  const find = async (receiver: Receiver, id: string): Promise<OpenDelivery> => {
    const found = await onBehalf(receiver.permit, queue.find({ app: receiver.name }, Number(id)));
    if (!found) throw noSuchDelivery();
    checkEnvironment(receiver, found.environment);
    return found;
  };
  const filterOf = (
    receiver: Receiver,
    { environment, target, state }: Pick<DeliveryFilter, "environment" | "target" | "state">,
  ): DeliveryFilter => {
    const { name } = receiver;
    if (environment !== undefined) checkEnvironment(receiver, environment);
    const known = targetsOf(name).find((each) => each.name === target);
    if (known) checkEnvironment(receiver, known.environment);
    return { app: name, environment: environment ?? receiver.environment, target, state };
  };
  const entryOf = (call: Call, { permit }: Receiver, action: AuditAction, detail: object): AuditEntry => ({
    ...actorOf(permit.principal, call),
    ...{ action, app: permit.usage.app, outcome: "ok", tokenDigest: "", detail: { ...detail } },
  });
  const pulledNames = (name: string): ReadonlySet<string> =>
    new Set(targetsOf(name).flatMap((each) => (each.url === undefined ? [each.name] : [])));

  const pull = async (call: Call, receiver: Receiver, query: (typeof listQuery)["static"]) => {
    const { name } = receiver;
    const filter = filterOf(receiver, query);
    const isWanted = (each: Target) =>
      each.url === undefined &&
      (filter.environment === undefined || each.environment === filter.environment) &&
      (filter.target === undefined || each.name === filter.target);
    const targets = targetsOf(name).filter(isWanted);
    if (targets.length === 0) throw nothingToPull();
    const how = {
      waitMs: Number(query.wait ?? 0) * 1000,
      limit: Math.min(MAX_PULLED, Number(query.limit ?? MAX_PULLED)),
      signal: call.request.signal,
    };
    const found = await onBehalf(receiver.permit, pulled.pull(name, targets, how));
    const deliveries = found.map((delivery) => {
      const target = findTarget({ targets }, delivery);
      const kept = delivery.request && readKeptPush(delivery.request);
      return pulledFields(delivery, target && kept && contentsFor(target, kept, clock.now()), kept);
    });
    return new Reply({ deliveries }, { permit: receiver.permit });
  };
  const list = async (receiver: Receiver, query: (typeof listQuery)["static"]) => {
    const limit = Number(query.limit ?? PAGE);
    const before = query.after === undefined ? undefined : Number(query.after);
    const page = { limit: limit + 1, before };
    const found = await onBehalf(receiver.permit, queue.list(filterOf(receiver, query), page));
    const shown = found.slice(0, limit);
    const next = found.length > limit ? { next: String(shown.at(-1)?.id) } : {};
    return new Reply({ deliveries: shown.map(deliveryFields), ...next }, { permit: receiver.permit });
  };

  return new Elysia({ prefix: "/v1/apps/:app/deliveries" })
    .onTransform(({ query }) => dropEmpty(query))
    .get(
      "",
      ({ params, query, request }) => {
        const call = callOf(request);
        const receiver = receiverOf(call, params.app);
        if (query.wait !== undefined) return pull(call, receiver, query);
        return list(receiver, query);
      },
      route(
        { ...known, seconds: WAIT_SECONDS },
        {
          params: Type.Object({ app }),
          query: listQuery,
          detail: {
            summary: "Pull or list deliveries · 拉取或列出投递",
            description:
              "With `wait`, the waiting deliveries of pulled targets, as soon as there are any: the caller has them for 30 s, acknowledges each, and asks again. Without it a list of all, the newest first; `next` means that there are more: send it as `after`. A client sees its own environment; with callback:manage every one. 带 `wait` 时拉取 pull 目标的待处理投递，有则立即返回，调用方须在30秒内逐条确认；不带时列出全部投递，新的在前，有 `next` 时将其作为 `after` 翻页。客户端只能看到自己环境的投递，有callback:manage权限时可看到所有环境。",
            tags: ["Callbacks"],
            responses: answersOf("The deliveries. 投递。", pulledData, { deliveries: [PULLED_EXAMPLE] }),
          },
        },
      ),
    )
    .get(
      "/:id",
      async ({ params, request }) => {
        const call = callOf(request);
        const receiver = receiverOf(call, params.app);
        const found = await find(receiver, params.id);
        const { id, target } = found;
        const kept = found.request && readKeptPush(found.request);
        if (kept) await audit.record(entryOf(call, receiver, "delivery.shown", { delivery: id, target }));
        return new Reply(shownFields(found, kept), { permit: receiver.permit });
      },
      route(known, {
        params: Type.Object({ app, id: deliveryId }),
        detail: {
          summary: "One delivery with its message · 查看一次投递及其消息",
          description:
            "The message decrypted, as long as a delivery of it waits or is dead. Recorded in the audit. 显示解密后的消息（仍有待投递或死信时）；会写入审计。",
          tags: ["Callbacks"],
          responses: answersOf("The delivery. 投递。", shownData, DELIVERY_EXAMPLE),
        },
      }),
    )
    .post(
      "/:id/ack",
      async ({ params, body, request }) => {
        const receiver = receiverOf(callOf(request), params.app);
        const found = await find(receiver, params.id);
        const target = findTarget(callbacks.of(receiver.name), found);
        if (target?.url !== undefined) throw notPulled();
        const kept = found.request && readKeptPush(found.request);
        const replyKey = target && kept && contentsFor(target, kept, clock.now())?.replyKey;
        const text = Buffer.from(body.reply ?? "");
        const answer = kept && replyKey ? answerOf(kept.push, text, replyKey, clock.now()) : SUCCESS;
        if (!answer) throw noReply();
        const counts = found.role === "primary" ? answer : undefined;
        const { isAnswer } = await onBehalf(receiver.permit, pulled.acknowledge(found, counts));
        return new Reply({ answered: isAnswer }, { permit: receiver.permit });
      },
      route(
        { ...known, maxBytes: 128 * 1024 },
        {
          params: Type.Object({ app, id: deliveryId }),
          body: ackBody,
          detail: {
            summary: "Acknowledge a pulled delivery · 确认已处理",
            description:
              "The push was taken. For a primary that WeChat still waits for, `reply` is the answer: XML or JSON as a program of WeChat's writes it, in clear or encrypted as the target's content says; empty or `success` for none. `answered` says whether WeChat gets it. 409 for one that is sent to a URL. 表示已处理。微信仍在等待的 primary 投递，`reply` 即为被动回复（XML或JSON，明文或按目标的密钥加密）；为空或 `success` 表示不回复。`answered` 表示该回复是否被采用。发往URL的投递返回409。",
            tags: ["Callbacks"],
            responses: answersOf("Acknowledged. 已确认。", Type.Object({ answered: Type.Boolean() }), {
              answered: true,
            }),
          },
        },
      ),
    )
    .post(
      "/:id/replay",
      async ({ params, request }) => {
        const call = callOf(request);
        const receiver = receiverOf(call, params.app);
        const { id, target } = await find(receiver, params.id);
        const entry = entryOf(call, receiver, "delivery.replayed", { delivery: id, target });
        const filter = { app: receiver.name };
        const ids = { ids: [id] };
        const done = await queue.replay(filter, ids, pulledNames(receiver.name), clock.now(), entry);
        if (done.length === 0) throw noMessage();
        pulled.announce(receiver.name);
        return new Reply({ replayed: 1 }, { permit: receiver.permit });
      },
      route(known, {
        params: Type.Object({ app, id: deliveryId }),
        detail: {
          summary: "Replay a delivery · 重放一次投递",
          description:
            "It waits again, for a day. 409 when its message is no longer kept. Takes no body. 重新投递，有效一天；消息已删除时返回409；无请求体。",
          tags: ["Callbacks"],
          responses: answersOf("Replayed. 已重放。", Type.Object({ replayed: Type.Integer() }), {
            replayed: 1,
          }),
        },
      }),
    )
    .post(
      "/replay",
      async ({ params, body, request }) => {
        const call = callOf(request);
        const receiver = receiverOf(call, params.app);
        const { state = "dead", after, ...of } = body;
        const filter = filterOf(receiver, {
          ...of,
          state,
          environment: of.environment,
          target: of.target,
        });
        const detail = { state, target: of.target ?? "*", environment: filter.environment ?? "*" };
        const entry = entryOf(call, receiver, "delivery.replayed", detail);
        const which = { limit: MAX_REPLAYED, after: after === undefined ? undefined : Number(after) };
        const done = await queue.replay(filter, which, pulledNames(receiver.name), clock.now(), entry);
        pulled.announce(receiver.name);
        const next = done.length === MAX_REPLAYED ? { next: String(done.at(-1)) } : {};
        return new Reply({ replayed: done.length, ...next }, { permit: receiver.permit });
      },
      route(
        { ...known, isClosed: true },
        {
          params: Type.Object({ app }),
          body: replayBody,
          detail: {
            summary: "Replay many deliveries · 批量重放",
            description:
              "At most 1,000, the oldest first; `next` means that there may be more: send it as `after`. Default: the dead ones. 一次最多1000条，旧的在前；有 `next` 时可能还有，将其作为 `after` 再次调用。默认重放死信。",
            tags: ["Callbacks"],
            responses: answersOf(
              "Replayed. 已重放。",
              Type.Object({ replayed: Type.Integer(), next: Type.Optional(Type.String()) }),
              { replayed: 12 },
            ),
          },
        },
      ),
    )
    .delete(
      "/:id",
      async ({ params, request }) => {
        const call = callOf(request);
        const receiver = receiverOf(call, params.app);
        const { id, target } = await find(receiver, params.id);
        const entry = entryOf(call, receiver, "delivery.dropped", { delivery: id, target });
        if (!(await queue.drop({ app: receiver.name }, id, clock.now(), entry))) throw endedAlready();
        return new Reply({}, { permit: receiver.permit });
      },
      route(known, {
        params: Type.Object({ app, id: deliveryId }),
        detail: {
          summary: "Drop a delivery · 放弃一次投递",
          description:
            "One that waits or is dead is tried no more. Takes no body. 放弃待投递或死信，不再尝试；无请求体。",
          tags: ["Callbacks"],
          responses: answersOf("Dropped. 已放弃。", Type.Object({}), {}),
        },
      }),
    );
}

function noSuchDelivery(): ServiceError {
  return new ServiceError("not_found", "没有此投递 (no such delivery)");
}

function nothingToPull(): ServiceError {
  return new ServiceError(
    "not_found",
    "该应用在此环境没有pull目标，请先添加 (the app has no target to pull in this environment: add one without a URL)",
  );
}

function notPulled(): ServiceError {
  return new ServiceError(
    "conflict",
    "该投递由服务发往目标的URL，无需确认 (this delivery is sent to its target's URL: there is nothing to acknowledge)",
  );
}

function noReply(): ServiceError {
  return new ServiceError(
    "invalid_parameter",
    "reply不是微信能接受的回复：应为被动回复的XML或JSON，或success (reply is none that WeChat takes: send the XML or JSON of a passive reply, or success)",
  );
}

function noMessage(): ServiceError {
  return new ServiceError(
    "conflict",
    "该投递的消息已不再保存，无法重放 (the message of this delivery is no longer kept, so it can't be replayed)",
  );
}

function endedAlready(): ServiceError {
  return new ServiceError(
    "conflict",
    "该投递已结束，无需放弃 (the delivery has ended: there is nothing to drop)",
  );
}
