import type { AlarmsData, ChannelData, TestData } from "../api/v1-notifications-schema.ts";
import { CHANNEL_NAME } from "../ops/channels.ts";
import { SEVERITIES } from "../ops/conditions.ts";
import { CHANNEL_KINDS } from "../ops/notifications.ts";
import { apiPath } from "./api.ts";
import { findList, findOneOf } from "./argument-values.ts";
import {
  type Arguments,
  bilingual,
  type CommandSpec,
  option,
  type PositionalSpec,
  usageError,
} from "./arguments.ts";
import { askSecret, readSecretFiles } from "./file-arguments.ts";
import { type Managing, managingCommand, YES, remove } from "./managing.ts";
import { halfOf, localTime, textFields, textTable } from "./terminal.ts";

const CHANNEL: PositionalSpec = {
  name: "channel",
  meaning: bilingual("The channel's name", "渠道名称"),
};
const WEBHOOK_FILE = "webhook-file";
const SIGNING_FILE = "signing-file";
const ADDRESS = bilingual("URL of the bot: ", "机器人的Webhook地址：");

const OPTIONS = [
  option(
    `--${WEBHOOK_FILE} <file>`,
    "File with the bot's URL, which is a secret; - for standard input. Asked for on a terminal",
    "机器人Webhook地址所在的文件（地址即密钥）；- 为标准输入；在终端上可直接输入",
  ),
  option(
    `--${SIGNING_FILE} <file>`,
    "File with what requests are signed with: DingTalk's or Feishu's secret, or a webhook's",
    "签名密钥所在的文件：钉钉、飞书的加签密钥，或webhook的密钥",
  ),
  option(
    "--min-severity <severity>",
    "critical, warning or info: the least that it is told of. Default: info",
    "critical、warning 或 info，只通知该级别及以上，默认info",
  ),
  option(
    "--quiet-hours <from-to>",
    "As 23:00-08:00 in Beijing: what is not critical waits until they end; none for none",
    "如 23:00-08:00（北京时间），非critical的等到时段结束；none 表示没有",
  ),
  option(
    "--mention <who,…>",
    "User ids of WeCom, mobile numbers of DingTalk, open ids of Feishu, or @all",
    "提醒谁：企业微信成员ID、钉钉手机号、飞书open_id，或 @all",
  ),
  option(
    "--resolved <yes|no>",
    "Whether it is told when an alarm ends. Default: yes",
    "恢复时是否通知，默认yes",
  ),
];

/** `accesstoken notify …`: where alarms are sent. */
export const NOTIFY_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["notify", "add"],
    meaning: bilingual("Have alarms sent to a group bot or a webhook", "新建告警通知渠道：群机器人或webhook"),
    positionals: [CHANNEL],
    options: [
      option("--kind <kind>", "wecom, dingtalk, feishu or webhook", "wecom、dingtalk、feishu 或 webhook"),
      ...OPTIONS,
    ],
    run: async (at) => {
      const channel = channelOf(at.args);
      const kind = findOneOf(at.args, "kind", CHANNEL_KINDS);
      if (kind === undefined) throw usageError("缺少 --kind (--kind is missing)");
      const body = { channel, kind, ...(await changeOf(at, true)) };
      const { data } = await at.api.send<ChannelData>({
        method: "POST",
        path: "/v1/notifications/channels",
        body,
      });
      await at.show(data, () => channelText(data));
      at.note(
        bilingual(`Try it: accesstoken notify test ${channel}`, `测试：accesstoken notify test ${channel}`),
      );
    },
  }),
  managingCommand({
    words: ["notify", "list"],
    meaning: bilingual("Where alarms are sent, and what is wrong just now", "列出通知渠道和当前告警"),
    run: async ({ api, show, terminal }) => {
      const { channels } = await api.get<{ channels: readonly ChannelData[] }>("/v1/notifications/channels");
      const { alarms } = await api.get<AlarmsData>("/v1/alarms");
      await show({ channels, alarms }, () => {
        const table = textTable(channels, {
          CHANNEL: ({ channel }) => channel,
          KIND: ({ kind }) => kind,
          URL: ({ url }) => url,
          STATE: ({ enabled, damaged }) => (damaged ? "damaged" : enabled ? "on" : "off"),
          SEVERITY: ({ min_severity }) => min_severity,
          QUIET: ({ quiet_hours }) => quiet_hours,
        });
        if (alarms.length === 0) return table;
        return `${table}\n${textTable(alarms, {
          SINCE: ({ since }) => localTime(since),
          SEVERITY: ({ severity }) => severity,
          STATE: ({ state }) => state,
          SUBJECT: ({ subject }) => subject,
          ALARM: ({ title }) => halfOf(title, terminal.language),
        })}`;
      });
    },
  }),
  managingCommand({
    words: ["notify", "set"],
    meaning: bilingual("Change a channel; what is not given stays", "修改通知渠道，未给出的选项不变"),
    positionals: [CHANNEL],
    options: [option("--enabled <yes|no>", "Whether it is told anything", "是否启用"), ...OPTIONS],
    run: async (at) => {
      const body = { ...(await changeOf(at, false)), ...flagOf(at.args, "enabled", "enabled") };
      if (Object.keys(body).length === 0) throw usageError("没有要修改的内容 (there is nothing to change)");
      const path = pathOf(at.args);
      const { data } = await at.api.send<ChannelData>({ method: "PATCH", path, body });
      await at.show(data, () => channelText(data));
    },
  }),
  managingCommand({
    words: ["notify", "test"],
    meaning: bilingual(
      "Send a channel a test, and show what the bot says",
      "向通知渠道发送测试消息，并显示机器人的应答",
    ),
    notes: [bilingual("Exit code 1 when the bot refuses it.", "机器人拒绝时退出码为1。")],
    positionals: [CHANNEL],
    run: async (at) => {
      const path = `${pathOf(at.args)}/test`;
      const { data } = await at.api.send<TestData>({ method: "POST", path });
      const { ok, answer, errcode, hint } = data;
      await at.show(data, () =>
        textFields({
          ok: ok ? "yes" : "no",
          answer,
          errcode: errcode === undefined ? undefined : String(errcode),
          hint: hint === undefined ? undefined : halfOf(hint, at.terminal.language),
        }),
      );
      return ok ? 0 : 1;
    },
  }),
  managingCommand({
    words: ["notify", "remove"],
    meaning: bilingual("Send a channel nothing any more", "删除通知渠道"),
    positionals: [CHANNEL],
    options: [YES],
    run: (at) => {
      const name = channelOf(at.args);
      return remove(
        at,
        name,
        pathOf(at.args),
        bilingual(`Remove the channel ${name}?`, `删除渠道 ${name}？`),
      );
    },
  }),
];

function channelOf(args: Arguments): string {
  const name = args.get("channel");
  if (CHANNEL_NAME.test(name)) return name;
  throw usageError(
    "<channel>: 应为1到32个字母、数字、点、下划线或连字符 (must be 1 to 32 letters, digits, dots, underscores and hyphens)",
  );
}

function pathOf(args: Arguments): string {
  return apiPath`/v1/notifications/channels/${channelOf(args)}`;
}

/** What the options say of a channel; `isNew`: its address must be given. */
async function changeOf({ args, terminal }: Managing, isNew: boolean) {
  const files = await readSecretFiles([WEBHOOK_FILE, SIGNING_FILE], args, terminal);
  const asked = isNew && files[WEBHOOK_FILE] === undefined;
  const url = asked ? (await askSecret(WEBHOOK_FILE, ADDRESS, terminal)).trim() : files[WEBHOOK_FILE];
  const secret = files[SIGNING_FILE];
  const quiet = args.find("quiet-hours");
  const severity = findOneOf(args, "min-severity", SEVERITIES);
  const mention = findList(args, "mention");
  return {
    ...(url === undefined ? {} : { url }),
    ...(secret === undefined ? {} : { secret: secret === "" ? null : secret }),
    ...(severity === undefined ? {} : { min_severity: severity }),
    ...(quiet === undefined ? {} : { quiet_hours: quiet === "none" ? null : quiet }),
    ...(mention === undefined ? {} : { mention }),
    ...flagOf(args, "resolved", "tell_resolved"),
  };
}

function flagOf(args: Arguments, name: string, field: "enabled" | "tell_resolved") {
  const value = findOneOf(args, name, ["yes", "no"]);
  return value === undefined ? {} : { [field]: value === "yes" };
}

function channelText(data: ChannelData): string {
  const { channel, kind, url, secret, enabled, damaged } = data;
  return textFields({
    ...{ channel, kind, url, secret },
    state: damaged ? `damaged: ${damaged.join(",")}` : enabled ? "on" : "off",
    severity: data.min_severity,
    quiet: data.quiet_hours,
    mention: data.mention.length > 0 ? data.mention.join(",") : undefined,
    resolved: data.tell_resolved ? "yes" : "no",
    updated: localTime(data.updated_at),
  });
}
