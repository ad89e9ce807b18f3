import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Access } from "../access/access.ts";
import { type AlarmRecord, alarmKey, severityOf } from "../ops/alarm-state.ts";
import type { AlarmStore, ConditionChoice, Notification, NotificationQueue } from "../ops/alarm-store.ts";
import type { ChannelAdministration, ChannelInput } from "../ops/channel-administration.ts";
import { type ChannelDirectory, endOf, noSuchChannel } from "../ops/channels.ts";
import { CONDITION_IDS, type ConditionId, conditionOf, SEVERITIES } from "../ops/conditions.ts";
import { messageOf, testContent } from "../ops/message-content.ts";
import type { Channel, QuietHours } from "../ops/notifications.ts";
import type { Notifier } from "../ops/notifier.ts";
import type { Clock } from "../clock.ts";
import { Secret } from "../secret.ts";
import { callOf, Reply, route, type RouteRules } from "./face.ts";
import { etagOf, versionIn } from "./schema.ts";
import { answersOf } from "./v1-apps-schema.ts";
import {
  type AlarmsData,
  alarmsData,
  CHANNEL_EXAMPLE,
  channelBody,
  type ChannelData,
  channelData,
  channelName,
  conditionsBody,
  type ConditionsData,
  conditionsData,
  newChannelBody,
  NOTIFICATION_EXAMPLE,
  type NotificationData,
  notificationData,
  pageQuery,
  testData,
} from "./v1-notifications-schema.ts";

const PAGE = 50;
/** What a bot may take, and the store before and after it. */
const TEST_SECONDS = 30;

/** What the routes of notifications work with. */
export interface NotificationRouteParts {
  readonly access: Access;
  readonly clock: Clock;
  readonly alarmStore: Pick<AlarmStore, "list">;
  readonly notifications: Pick<NotificationQueue, "page">;
  readonly channels: ChannelDirectory;
  readonly channelAdministration: ChannelAdministration;
  readonly notifier: Pick<Notifier, "test">;
}

/** `/v1/alarms`: what is wrong just now; for administrators, and clients that may `view` every app. */
export function alarmRoutes({ access, alarmStore }: NotificationRouteParts) {
  return new Elysia({ prefix: "/v1/alarms" })
    .derive(({ request }) => access.manager(callOf(request), "view"))
    .get(
      "",
      async ({ isAdmin }): Promise<AlarmsData> => {
        const standing = (await alarmStore.list()).filter(({ state }) => state !== "resolved");
        // Keys and processes are for administrators alone.
        const shown = standing.filter(
          ({ condition }) => isAdmin || !FOR_ADMINS.has(conditionOf(condition).about),
        );
        return { alarms: shown.toSorted(byUrgency).map(alarmFields) };
      },
      {
        detail: {
          summary: "What is wrong just now · 当前告警",
          description:
            "For administrators, and clients that may `view` every app; what is about keys and processes for administrators alone. 仅限管理员及可查看全部应用的客户端；关于密钥和进程的仅限管理员。",
          tags: ["Notifications"],
          responses: answersOf("The alarms. 告警列表。", alarmsData, {
            alarms: [
              {
                ...{
                  condition: "app_blocked",
                  severity: "critical",
                  about: "app",
                  subject: "wx0000000000000001",
                  state: "firing",
                },
                ...{ since: 1_795_320_000_000, told_at: 1_795_320_000_000, errcode: 40164 },
                ...{ title: conditionOf("app_blocked").title, message: "invalid ip 203.0.113.7" },
                hint: "请将 203.0.113.7 加入IP白名单 (add 203.0.113.7 to the IP allow-list)",
              },
            ],
          }),
        },
      },
    );
}

const FOR_ADMINS: ReadonlySet<string> = new Set(["client", "node"]);

/** `/v1/notifications`: where alarms are sent, and what was sent; for administrators. */
export function notificationRoutes(parts: NotificationRouteParts) {
  const { access, clock, channels, channelAdministration: administration, notifications, notifier } = parts;
  const rules: RouteRules = { guard: (call) => access.admin(call), isClosed: true };
  const show = (name: string, status = 200) => {
    const found = channels.find(name);
    if (!found) throw noSuchChannel();
    return new Reply(channelFields(found), { status, headers: { etag: etagOf(found.version) } });
  };
  const showConditions = () => {
    const { version } = channels.choices;
    return new Reply(conditionsFields(channels), { headers: { etag: etagOf(version) } });
  };
  const params = Type.Object({ channel: channelName });
  const answers = answersOf("The channel. 渠道。", channelData, CHANNEL_EXAMPLE);
  const conditionAnswers = answersOf("The conditions. 告警条件。", conditionsData, {
    version: 0,
    conditions: [
      {
        ...{ condition: "wrong_keys", severity: "warning", enabled: true, threshold: 100, hold: 0 },
        ...{
          title: conditionOf("wrong_keys").title,
          remedy: conditionOf("wrong_keys").remedy,
          is_default: true,
        },
      },
    ],
  });
  return (
    new Elysia({ prefix: "/v1/notifications" })
      // Before validation: only administrators learn what is wrong with a request.
      .derive(async ({ request }) => {
        const actor = access.admin(callOf(request));
        await channels.refresh();
        return { actor };
      })
      .get(
        "",
        async ({ query }) => {
          const limit = Number(query.limit ?? PAGE);
          const before = query.before === undefined ? undefined : Number(query.before);
          const found = await notifications.page({ channel: query.channel, before, limit: limit + 1 });
          const next = found.length > limit ? { next: String(found[limit - 1]?.id) } : {};
          return { notifications: found.slice(0, limit).map(notificationFields), ...next };
        },
        route(
          {},
          {
            query: pageQuery,
            detail: {
              summary: "Messages of the last 14 days, newest first · 最近14天的通知",
              description:
                "For administrators. `next` means that there are more: send it as `before`. 仅限管理员。应答中有 `next` 时将其作为 `before` 获取下一页。",
              tags: ["Notifications"],
              responses: answersOf(
                "The messages. 通知列表。",
                Type.Object({
                  notifications: Type.Array(notificationData),
                  next: Type.Optional(Type.String()),
                }),
                { notifications: [NOTIFICATION_EXAMPLE], next: "41" },
              ),
            },
          },
        ),
      )
      .get("/conditions", showConditions, {
        detail: {
          summary: "What alarms are raised for · 告警条件",
          description: "For administrators. 仅限管理员。",
          tags: ["Notifications"],
          responses: conditionAnswers,
        },
      })
      .patch(
        "/conditions",
        async ({ body, actor, request }) => {
          await administration.choose(choicesOf(body), { actor, version: versionIn(request.headers) });
          return showConditions();
        },
        route(rules, {
          body: conditionsBody,
          detail: {
            summary: "Turn conditions on or off · 修改告警条件",
            description:
              "What is not named stays; null is as by default. With If-Match, 412 for any other version. 未给出的条件不变，null表示恢复默认。带If-Match时版本不符返回412。",
            tags: ["Notifications"],
            responses: conditionAnswers,
          },
        }),
      )
      .get("/channels", () => ({ channels: channels.list().map(channelFields) }), {
        detail: {
          summary: "Where alarms are sent · 通知渠道",
          description: "For administrators; sorted by name. 仅限管理员；按名称排序。",
          tags: ["Notifications"],
          responses: answersOf(
            "The channels. 渠道列表。",
            Type.Object({ channels: Type.Array(channelData) }),
            {
              channels: [CHANNEL_EXAMPLE],
            },
          ),
        },
      })
      .post(
        "/channels",
        async ({ body, actor }) => {
          const { channel, kind, ...rest } = body;
          await administration.create(channel, kind, inputOf(rest), { actor });
          return show(channel, 201);
        },
        route(rules, {
          body: newChannelBody,
          detail: {
            summary: "Add a channel · 新建通知渠道",
            description:
              "A group bot of WeCom, DingTalk or Feishu, or a webhook of your own, over https; one on a private address must be listed in CALLBACK_NETWORKS. 企业微信、钉钉、飞书群机器人，或自己的https地址；位于内网的须列入CALLBACK_NETWORKS。",
            tags: ["Notifications"],
            responses: answersOf("The channel. 渠道。", channelData, CHANNEL_EXAMPLE),
          },
        }),
      )
      .get("/channels/:channel", ({ params: { channel } }) => show(channel), {
        params,
        detail: {
          summary: "One channel · 查看通知渠道",
          description:
            "For administrators. The header ETag names its version. 仅限管理员。响应头ETag为其版本。",
          tags: ["Notifications"],
          responses: answers,
        },
      })
      .patch(
        "/channels/:channel",
        async ({ params: { channel }, body, actor, request }) => {
          await administration.update(channel, inputOf(body), { actor, version: versionIn(request.headers) });
          return show(channel);
        },
        route(rules, {
          params,
          body: channelBody,
          detail: {
            summary: "Change a channel · 修改通知渠道",
            description:
              "Fields that are left out stay. With If-Match, 412 for any other version. 未给出的字段不变。带If-Match时版本不符返回412。",
            tags: ["Notifications"],
            responses: answers,
          },
        }),
      )
      .delete(
        "/channels/:channel",
        async ({ params: { channel }, actor, request }) => {
          await administration.remove(channel, { actor, version: versionIn(request.headers) });
          return {};
        },
        route(rules, {
          params,
          detail: {
            summary: "Remove a channel · 删除通知渠道",
            description: "What waits for it is dropped. Takes no body. 等待发送的通知一并丢弃；无请求体。",
            tags: ["Notifications"],
            responses: answersOf("Removed. 已删除。", Type.Object({}), {}),
          },
        }),
      )
      .post(
        "/channels/:channel/test",
        async ({ params: { channel } }) => {
          const outcome = await notifier.test(channel, testContent(clock.now()));
          if (outcome.ok) return { ok: true, answer: outcome.answer };
          const { answer, errcode, hint } = outcome;
          return { ok: false, answer, errcode, hint };
        },
        route(
          { ...rules, seconds: TEST_SECONDS },
          {
            params,
            detail: {
              summary: "Send a channel a test · 测试通知渠道",
              description:
                "A real alarm's message, marked as a test, by the way of all others, once; it counts among the 6 a minute. The answer is the bot's own. Takes no body. 按真实告警的格式和路径发送一次测试消息，计入每分钟6条；应答为机器人的原始应答。无请求体。",
              tags: ["Notifications"],
              responses: answersOf("What it said. 对方的应答。", testData, { ok: true, answer: "0 ok" }),
            },
          },
        ),
      )
  );
}

function byUrgency(a: AlarmRecord, b: AlarmRecord): number {
  const rank = (record: AlarmRecord) => SEVERITIES.indexOf(severityOf(record));
  return rank(a) - rank(b) || a.since - b.since || (alarmKey(a) < alarmKey(b) ? -1 : 1);
}

function alarmFields(record: AlarmRecord): AlarmsData["alarms"][number] {
  const { condition, subject, state, since, toldAt, detail } = record;
  const { severity, about, title, remedy } = conditionOf(condition);
  const { message, errcode, hint = remedy, expiresAt } = detail;
  return {
    ...{ condition, severity, about, subject, state, since, title, message, hint },
    ...(toldAt === undefined ? {} : { told_at: toldAt }),
    ...(errcode === undefined ? {} : { errcode }),
    ...(expiresAt === undefined ? {} : { expires_at: expiresAt }),
  };
}

function channelFields({ name, kind, url, secret, isEnabled, rules, ...rest }: Channel): ChannelData {
  const { minSeverity, quietHours, mention, tellsResolved } = rules;
  const ends = { url: endOf(url), secret: endOf(secret) };
  return {
    ...{ channel: name, kind, enabled: isEnabled, min_severity: minSeverity, mention: [...mention] },
    ...(ends.url === undefined ? {} : { url: ends.url }),
    ...(ends.secret === undefined ? {} : { secret: ends.secret }),
    ...(quietHours ? { quiet_hours: `${clockTime(quietHours.from)}-${clockTime(quietHours.to)}` } : {}),
    ...{ tell_resolved: tellsResolved, created_at: rest.createdAt, updated_at: rest.updatedAt },
    version: rest.version,
    ...(rest.damaged.length > 0 ? { damaged: [...rest.damaged] } : {}),
  };
}

function notificationFields({ content, dueAt, endedAt, answer, ...row }: Notification): NotificationData {
  const { id, channel, state, attempts, createdAt } = row;
  const message = content && messageOf(content, { node: "", at: 0 });
  return {
    ...{ id, channel, state, attempts, created_at: createdAt, omitted: message?.omitted ?? 0 },
    ...(message ? { kind: message.kind } : {}),
    alarms: (message?.alarms ?? []).map((alarm) => ({
      ...{ condition: alarm.condition, subject: alarm.subject, state: alarm.state },
    })),
    ...(state === "waiting" ? { due_at: dueAt } : {}),
    ...(endedAt === undefined ? {} : { ended_at: endedAt }),
    ...(answer === undefined ? {} : { answer }),
  };
}

function conditionsFields(channels: ChannelDirectory): ConditionsData {
  const { version, of } = channels.choices;
  const conditions = CONDITION_IDS.map((id) => {
    const { severity, title, remedy, holdMs, threshold: changeable } = conditionOf(id);
    const { isOn: enabled, threshold } = channels.settingOf(id);
    return {
      ...{ condition: id, severity, title, remedy, enabled, hold: holdMs / 1000, is_default: !of[id] },
      ...(changeable ? { threshold } : {}),
    };
  });
  return { version, conditions };
}

/** Minutes of the day, as people write them. */
function clockTime(minutes: number): string {
  return `${String(Math.floor(minutes / 60)).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;
}

function quietHoursOf(text: string | null | undefined): QuietHours | null | undefined {
  if (text === null || text === undefined) return text;
  const [from = 0, to = 0] = text.split("-").map((time) => {
    const [hours = 0, minutes = 0] = time.split(":").map(Number);
    return hours * 60 + minutes;
  });
  return { from, to };
}

function inputOf(body: (typeof channelBody)["static"]): ChannelInput {
  const { url, secret, enabled, min_severity, quiet_hours, mention, tell_resolved } = body;
  return {
    url: url === undefined ? undefined : new Secret(url),
    secret: typeof secret === "string" ? new Secret(secret) : secret,
    ...{ isEnabled: enabled, minSeverity: min_severity, mention, tellsResolved: tell_resolved },
    quietHours: quietHoursOf(quiet_hours),
  };
}

function choicesOf(body: object): Partial<Record<ConditionId, ConditionChoice | null>> {
  const given = Object.entries(body) as [ConditionId, { enabled?: boolean; threshold?: number } | null][];
  return Object.fromEntries(
    given.map(([id, choice]) => [
      id,
      choice && {
        ...(choice.enabled === undefined ? {} : { isOn: choice.enabled }),
        ...(choice.threshold === undefined ? {} : { threshold: choice.threshold }),
      },
    ]),
  );
}
