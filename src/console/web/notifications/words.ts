import { words } from "../language.ts";
import { screenWords } from "../parts/words.ts";

export const w = screenWords({
  alarms: ["当前告警", "Standing alarms"],
  noAlarms: ["一切正常，没有告警。", "All is well: no alarm stands."],
  alarm: ["告警", "Alarm"],
  subject: ["对象", "About"],
  since: ["开始", "Since"],
  severity: ["级别", "Severity"],
  critical: ["严重", "Critical"],
  warning: ["警告", "Warning"],
  info: ["提示", "Info"],
  channels: ["通知渠道", "Channels"],
  channel: ["渠道", "Channel"],
  noChannels: ["还没有通知渠道", "No channels yet"],
  noChannelsHint: [
    "告警会发到企业微信、钉钉、飞书的群机器人，或你自己的Webhook。",
    "Alarms are sent to group bots of WeCom, DingTalk and Feishu, or to a webhook of your own.",
  ],
  addChannel: ["添加渠道", "Add a channel"],
  editChannel: (name: string) => [`渠道${name}`, `Channel ${name}`],
  nameHint: [
    "字母、数字、点、下划线或连字符，如ops。",
    "Letters, digits, dots, dashes and underscores, as ops.",
  ],
  kind: ["类型", "Kind"],
  url: ["Webhook地址", "Webhook URL"],
  urlHint: [
    "在群里机器人的设置中复制；加密保存，此后只显示末4位。",
    "As the bot's settings in the group show it. It is stored encrypted, and later shown by its last 4 characters.",
  ],
  webhookHint: [
    "https；内网地址须列入CALLBACK_NETWORKS。",
    "https; an address that is not public must be listed in CALLBACK_NETWORKS.",
  ],
  unchanged: (end: string) => [`不修改（${end}）`, `unchanged (${end})`],
  secret: ["加签密钥", "Secret"],
  secretHint: [
    "机器人开启加签时填写；如设关键词，请加入“告警”。",
    "Where the bot asks for signatures. If it asks for a keyword, add 告警 to its list.",
  ],
  webhookSecretHint: [
    "用于X-Accesstoken-Signature，接收方据此验证。",
    "Signs the X-Accesstoken-Signature, by which the receiver verifies.",
  ],
  removeSecret: ["不再加签", "Sign no more"],
  minSeverity: ["最低级别", "Least severity"],
  mention: ["提醒的人", "Mention"],
  mentionHint: [
    "成员ID或手机号（飞书为open_id），逗号分隔；@all为所有人。",
    "Ids of people or mobile numbers (of Feishu, open ids), comma-separated; @all is everybody.",
  ],
  quietHours: ["静默时段", "Quiet hours"],
  quietHoursHint: [
    "北京时间，如23:00-08:00；严重告警照常发送。",
    "In Beijing's time, as 23:00-08:00; critical alarms are sent all the same.",
  ],
  tellsResolved: ["恢复时也通知", "Tell when an alarm ends"],
  isEnabled: ["启用", "Send alarms here"],
  on: ["已启用", "On"],
  off: ["已停用", "Off"],
  damagedHint: [
    "保存的地址或密钥无法解密，请重新填写。",
    "Its URL or secret can't be opened; enter it again.",
  ],
  removeChannel: ["删除渠道？", "Remove the channel?"],
  removeChannelHint: [
    "此后的告警不再发到这里，等待中的消息也不再发送。",
    "Alarms are sent there no more, nor what waits to be sent.",
  ],
  test: ["测试", "Test"],
  testOf: (name: string) => [`测试${name}`, `Test of ${name}`],
  testSent: ["已送达", "It arrived"],
  testRefused: ["未送达", "It did not arrive"],
  testHint: [
    "发送的是一条真实格式的告警，途径与正式告警相同。",
    "A message in the form of a real alarm was sent, by the way that alarms take.",
  ],
  whatToDo: ["处理办法", "What to do"],
  conditions: ["告警条件", "Conditions"],
  condition: ["条件", "Condition"],
  threshold: ["阈值", "Threshold"],
  isTold: ["满足时告警", "Raise an alarm"],
  messages: ["最近的消息", "Last messages"],
  noMessages: ["还没有发送过消息。", "Nothing was sent yet."],
  waiting: ["等待发送", "Waiting"],
  sent: ["已发送", "Sent"],
  failed: ["未送达", "Failed"],
  attempts: (count: string) => [`${count}次尝试`, `${count} attempts`],
  andMore: (count: string) => [`等${count}项`, `and ${count} more`],
});

/** What each kind of channel is. */
export const kindWords = words({
  wecom: ["企业微信群机器人", "WeCom group bot"],
  dingtalk: ["钉钉群机器人", "DingTalk robot"],
  feishu: ["飞书群机器人", "Feishu bot"],
  webhook: ["自有Webhook", "Webhook"],
});
