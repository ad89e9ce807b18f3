import { conditionOf } from "./conditions.ts";
import type { Alarm, Message } from "./notifications.ts";

/** The longest content of a WeCom bot's `markdown`, of its `text`, and of a message to DingTalk and Feishu. UTF-8. */
export const MAX_WECOM_MARKDOWN_BYTES = 4096;
export const MAX_WECOM_TEXT_BYTES = 2048;
/** Below the 20,000 and 20,480 bytes of a whole request, in which quotes and line ends are escaped. */
const MAX_REQUEST_TEXT_BYTES = 8000;
/** Of a message, its title and its end included. */
const MAX_LINES = 15;
/** Of what is said in one place, in characters. */
const MAX_PIECE = 240;
const BEIJING_OFFSET_MS = 8 * 3_600_000;

/** What a message is called, and in which of WeCom's colors. Each has the word that a bot may ask for as its keyword. */
const NAMES = {
  firing: ["告警 (alarm)", "warning"],
  reminder: ["告警未恢复 (still standing)", "warning"],
  resolved: ["告警已恢复 (resolved)", "info"],
  digest: ["告警汇总 (summary)", "comment"],
  test: ["告警测试 (test)", "comment"],
} as const satisfies Record<Message["kind"], readonly [string, string]>;

/** A message in plain words, before it is put into the form of a channel: nothing in it is markup. */
interface Plain {
  readonly name: string;
  readonly color: string;
  readonly title: string;
  /** The lines between the title and the end. */
  readonly lines: readonly string[];
  readonly link: string | undefined;
  /** When and where it was told. */
  readonly end: string;
}

const LINK = "打开控制台 (open the console)";

/** The markdown of a WeCom bot: quoted lines and one link, at most 4,096 bytes. */
export function wecomMarkdown(message: Message): string {
  return cut(message, MAX_WECOM_MARKDOWN_BYTES, ({ name, color, title, lines, link, end }) =>
    [
      `### <font color="${color}">${name}</font> ${title}`,
      ...lines.map((line) => `> ${line}`),
      link === undefined ? end : `[${LINK}](${link}) · ${end}`,
    ].join("\n"),
  );
}

/** The title and the markdown of a DingTalk robot, which takes two line ends for one. */
export function dingtalkMarkdown(
  message: Message,
  mentioned: string,
): { readonly title: string; readonly text: string } {
  const text = cut(message, MAX_REQUEST_TEXT_BYTES, ({ name, title, lines, link, end }) =>
    [
      `### ${name} ${title}`,
      ...lines,
      link === undefined ? end : `[${LINK}](${link}) · ${end}`,
      ...(mentioned === "" ? [] : [mentioned]),
    ].join("\n\n"),
  );
  return { title: headline(message), text };
}

/** What is in a paragraph of a Feishu post. */
type PostElement =
  | { readonly tag: "text"; readonly text: string }
  | { readonly tag: "a"; readonly text: string; readonly href: string }
  | { readonly tag: "at"; readonly user_id: string };

/** A Feishu post: parts that say what they are, so that no text is read as markup. */
export function feishuPost(
  message: Message,
  mention: readonly string[],
): { readonly title: string; readonly content: readonly (readonly PostElement[])[] } {
  let link: string | undefined;
  const text = cut(message, MAX_REQUEST_TEXT_BYTES, (plain) => {
    link = plain.link;
    return [...plain.lines, plain.end].join("\n");
  });
  const paragraphs = text.split("\n").map((line): PostElement[] => [{ tag: "text", text: line }]);
  if (link !== undefined) paragraphs.push([{ tag: "a", text: LINK, href: link }]);
  if (mention.length > 0)
    paragraphs.push(
      mention.map((each): PostElement => ({ tag: "at", user_id: each === "@all" ? "all" : each })),
    );
  return { title: headline(message), content: paragraphs };
}

/** The whole message without markup, for a webhook of one's own. */
export function plainText(message: Message): string {
  return cut(message, MAX_REQUEST_TEXT_BYTES, ({ name, title, lines, link, end }) =>
    [`${name} ${title}`, ...lines, ...(link === undefined ? [] : [link]), end].join("\n"),
  );
}

/** What it is about, in one line: the text that mentions somebody, the title where a form has one. */
export function headline(message: Message): string {
  const { name, title } = plainOf(message, MAX_LINES);
  return `${name} ${title}`;
}

/** `draw` with as many lines as there is room for; each that is left out counts among those that are not shown. */
function cut(message: Message, maxBytes: number, draw: (plain: Plain) => string): string {
  for (let lines = MAX_LINES; lines > 2; lines--) {
    const text = draw(plainOf(message, lines));
    if (Buffer.byteLength(text) <= maxBytes) return text;
  }
  return draw({ ...plainOf(message, 2), lines: [], link: undefined });
}

function plainOf(message: Message, maxLines: number): Plain {
  const { kind, alarms, omitted, node, at, consoleUrl } = message;
  const [name, color] = NAMES[kind];
  const [only] = alarms;
  // The title and the end are lines too.
  const room = maxLines - 2;
  const isOne = alarms.length === 1 && omitted === 0 && only !== undefined;
  const lines = isOne ? linesOfOne(only, message) : linesOfMany(message, room);
  const count = alarms.length + omitted;
  return {
    ...{ name, color },
    title: isOne ? safe(conditionOf(only.condition).title) : `${count} 项 (${count})`,
    lines: lines.slice(0, room),
    link: consoleUrl === undefined ? undefined : `${consoleUrl}/#${isOne ? pageOf(only) : "/"}`,
    end: `${clockTime(at)} · ${safe(node)}`,
  };
}

function linesOfOne(alarm: Alarm, { kind, at }: Message): string[] {
  const { condition, subject, state, since, resolvedAt, detail } = alarm;
  const { about, remedy } = conditionOf(condition);
  const left = (detail.expiresAt ?? 0) - at;
  const isOver = state === "resolved";
  const when = isOver ? "此前 (it was)" : "现状 (now)";
  const reason = detail.errcode === undefined ? detail.message : `${detail.errcode} ${detail.message}`;
  return [
    ...(kind === "test" ? ["这是测试，无需处理 (this is a test: nothing is wrong)"] : []),
    ...(subject === "" ? [] : [`${SUBJECTS[about]}：${safe(subject)}`]),
    `${when}：${safe(reason)}`,
    ...(isOver ? [`持续 (for)：${span((resolvedAt ?? at) - since)}`] : []),
    ...(kind === "reminder" ? [`已持续 (for)：${span(at - since)}`] : []),
    ...(isOver || left <= 0 ? [] : [`现有token仍可用 (what is there is still good for)：${span(left)}`]),
    ...(isOver ? [] : [`处理 (do)：${safe(detail.hint ?? remedy)}`]),
  ];
}

const SUBJECTS = {
  app: "应用 (app)",
  platform: "平台 (platform)",
  client: "客户端 (client)",
  node: "进程 (process)",
  service: "服务 (service)",
} as const;

/** Said of each where they differ. */
const STATES = { firing: "【告警】", resolved: "【恢复】" } as const;

function linesOfMany({ kind, alarms, omitted }: Message, room: number): string[] {
  const isCut = omitted > 0 || alarms.length > room;
  const shown = alarms.slice(0, isCut ? room - 1 : room);
  const more = alarms.length - shown.length + omitted;
  const isMixed = kind === "digest" || alarms.some(({ state }) => state !== alarms[0]?.state);
  return [
    ...shown.map((alarm) => {
      const state = isMixed ? STATES[alarm.state] : "";
      const { subject, condition, detail } = alarm;
      const about = subject === "" ? "" : `${safe(subject)}：`;
      const title = safe(conditionOf(condition).title);
      const errcode = detail.errcode === undefined ? "" : ` ${detail.errcode}`;
      return `${state}${about}${title}${errcode}`;
    }),
    ...(more > 0 ? [`另有 ${more} 项 (${more} more)`] : []),
  ];
}

/** The page of the console on which something can be done about it. */
function pageOf({ condition, subject }: Alarm): string {
  const { about } = conditionOf(condition);
  // Parentheses would end the link.
  const [of = ""] = subject.split(" ");
  const name = encodeURIComponent(of).replaceAll("(", "%28").replaceAll(")", "%29");
  if (about === "app" && name !== "") return `/apps/${name}`;
  if (about === "platform") return `/platforms/${name}`;
  if (about === "client" && name !== "") return `/clients/${name}`;
  return about === "node" ? "/settings?tab=nodes" : "/";
}

/** What markdown and the tags of the bots are made of, and what a client makes a link of, each as its full-width form. */
const MARKUP: Readonly<Record<string, string>> = {
  "<": "＜",
  ">": "＞",
  "[": "［",
  "]": "］",
  "`": "｀",
  "*": "＊",
  "~": "～",
  "|": "｜",
  "\\": "＼",
  "@": "＠",
  "&": "＆",
};

/**
 * A text that people have chosen, or an upstream, in one line that no bot reads as markup: a link, a mention, a color. The
 * characters that could be are shown as their full-width forms.
 */
function safe(text: string): string {
  const line = text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, " ").trim();
  const cutAt =
    line.length > MAX_PIECE ? `${line.slice(0, MAX_PIECE - 1).replace(/[\uD800-\uDBFF]$/, "")}…` : line;
  return cutAt
    .replaceAll(/[<>[\]`*~|\\@&]/g, (each) => MARKUP[each] ?? each)
    .replaceAll("://", "：//")
    .replaceAll(/\bwww\./gi, "www．");
}

/** A length of time in its two largest units. */
function span(ms: number): string {
  const minutes = Math.max(1, Math.round(ms / 60_000));
  const [days, hours, rest] = [Math.floor(minutes / 1440), Math.floor(minutes / 60) % 24, minutes % 60];
  if (days > 0) return `${days}天${hours}小时 (${days} d ${hours} h)`;
  return hours > 0 ? `${hours}小时${rest}分钟 (${hours} h ${rest} min)` : `${rest}分钟 (${rest} min)`;
}

/** The time in Beijing, where these bots are. */
function clockTime(at: number): string {
  return `${new Date(at + BEIJING_OFFSET_MS).toISOString().slice(0, 19).replace("T", " ")} +08:00`;
}
