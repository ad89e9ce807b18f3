import { expect, test } from "bun:test";
import { CONDITION_IDS } from "../../src/ops/conditions.ts";
import {
  dingtalkMarkdown,
  feishuPost,
  headline,
  MAX_WECOM_MARKDOWN_BYTES,
  plainText,
  wecomMarkdown,
} from "../../src/ops/notification-text.ts";
import { findingOfTicket } from "../../src/ops/platform-states.ts";
import { newPlatform } from "../support/new-platform.ts";
import { type Alarm, type Message, MESSAGE_KINDS } from "../../src/ops/notifications.ts";

const AT = Date.UTC(2026, 11, 1, 6, 32, 7);
const MINUTE_MS = 60_000;

function alarm(changes: Partial<Alarm> = {}): Alarm {
  return {
    ...{ condition: "app_blocked", subject: "shop", severity: "critical", state: "firing" },
    ...{ since: AT - 10 * MINUTE_MS },
    detail: {
      message: "出口IP 203.0.113.7 不在白名单 (203.0.113.7 is not on the allow-list)",
      errcode: 40_164,
      hint: "请将 203.0.113.7 加入IP白名单 (add 203.0.113.7 to the IP allow-list)",
      expiresAt: AT + 37 * MINUTE_MS,
    },
    ...changes,
  };
}

function message(changes: Partial<Message> = {}): Message {
  return {
    ...{ kind: "firing", alarms: [alarm()], omitted: 0, node: "node-1", at: AT },
    consoleUrl: "https://token.example.com/console",
    ...changes,
  };
}

/** A platform whose tickets no longer come. */
function silent(id: string): Alarm {
  const app = newPlatform(id.startsWith("wx") ? "weixin" : "wecom", id);
  const state = { app, hasTicket: true, ticketAt: AT - 31 * MINUTE_MS, valid: 0, lost: [], failed: [] };
  const { condition, subject, detail = { message: "" } } = findingOfTicket(state, AT) ?? {};
  return alarm({ condition, subject, detail });
}

/** The message in each form, as text. */
const FORMS: Readonly<Record<string, (of: Message) => string>> = {
  wecom: wecomMarkdown,
  dingtalk: (of) => Object.values(dingtalkMarkdown(of, "")).join("\n"),
  // A post says of each part what it is.
  feishu: (of) => {
    const { title, content } = feishuPost(of, []);
    return [title, ...content.flat().map((each) => ("text" in each ? each.text : each.tag))].join("\n");
  },
  plain: plainText,
};

test("one alarm says what, where, how long it still works, what to do, and where that is done", () => {
  expect(wecomMarkdown(message())).toBe(
    [
      '### <font color="warning">告警 (alarm)</font> 应用被拒绝 (an app is blocked)',
      "> 应用 (app)：shop",
      "> 现状 (now)：40164 出口IP 203.0.113.7 不在白名单 (203.0.113.7 is not on the allow-list)",
      "> 现有token仍可用 (what is there is still good for)：37分钟 (37 min)",
      "> 处理 (do)：请将 203.0.113.7 加入IP白名单 (add 203.0.113.7 to the IP allow-list)",
      "[打开控制台 (open the console)](https://token.example.com/console/#/apps/shop) · 2026-12-01 14:32:07 +08:00 · node-1",
    ].join("\n"),
  );
});

test("what has ended says how long it took, and no longer what to do", () => {
  const ended = alarm({ state: "resolved", resolvedAt: AT, since: AT - 26 * 60 * MINUTE_MS });
  const text = plainText(message({ kind: "resolved", alarms: [ended] }));
  expect(text).toStartWith("告警已恢复 (resolved) 应用被拒绝");
  expect(text).toContain("持续 (for)：1天2小时 (1 d 2 h)");
  expect(text).not.toMatch(/处理|现有token/);
});

test("a reminder says since when, a test that nothing is wrong", () => {
  expect(plainText(message({ kind: "reminder" }))).toContain("已持续 (for)：10分钟 (10 min)");
  expect(plainText(message({ kind: "test" }))).toContain(
    "这是测试，无需处理 (this is a test: nothing is wrong)",
  );
});

test("several alarms are a line each, and a summary says of each whether it still stands", () => {
  const alarms = [
    alarm(),
    alarm({ condition: "disk_low", subject: "node-2", state: "resolved", detail: { message: "" } }),
  ];
  expect(plainText(message({ kind: "digest", alarms, omitted: 17 })).split("\n")).toEqual([
    "告警汇总 (summary) 19 项 (19)",
    "【告警】shop：应用被拒绝 (an app is blocked) 40164",
    "【恢复】node-2：磁盘剩余空间不足 (the disk is nearly full)",
    "另有 17 项 (17 more)",
    "https://token.example.com/console/#/",
    "2026-12-01 14:32:07 +08:00 · node-1",
  ]);
});

test("a message has 15 lines at most, and says how many alarms are not in it", () => {
  for (let count = 2; count <= 15; count++)
    for (const omitted of [0, 17]) {
      const alarms = Array.from({ length: count }, (_, n) => alarm({ subject: `app-${n}` }));
      const lines = wecomMarkdown(message({ alarms, omitted })).split("\n");
      expect(lines.length).toBeLessThanOrEqual(15);
      const shown = lines.filter((line) => line.includes("app-")).length;
      const more = /另有 (\d+) 项/.exec(lines.join("\n"))?.[1] ?? "0";
      expect(shown + Number(more)).toBe(count + omitted);
    }
});

test("a message is cut at a line, to the bytes that WeCom takes", () => {
  const long = "长".repeat(5000);
  for (const kind of MESSAGE_KINDS)
    for (const count of [1, 2, 15])
      for (const condition of CONDITION_IDS) {
        const detail = { message: long, hint: long, errcode: 40_164, expiresAt: AT + MINUTE_MS };
        const alarms = Array.from({ length: count }, () => alarm({ condition, subject: long, detail }));
        const text = wecomMarkdown(message({ kind, alarms, node: long, omitted: 3 }));
        expect(Buffer.byteLength(text)).toBeLessThanOrEqual(MAX_WECOM_MARKDOWN_BYTES);
        expect(text).not.toContain("\uFFFD");
        expect(text.split("\n").at(-1)).toEndWith("…");
        if (count === 15) expect(text).toMatch(/另有 \d+ 项/);
      }
});

const INJECTIONS = [
  "[click](https://evil.example.com)",
  "<@all> <@zhangsan>",
  '<at user_id="all"></at><at id=all></at>',
  '<font color="info">fine</font>',
  "@13800000000 @all",
  "![image](http://evil.example.com/p.png)",
  "https://evil.example.com www.evil.example.com",
  "**bold** `code` ~~gone~~ | a | b |",
  "&lt;@all&gt; &#64;all \\[x](y)",
  "a\n# heading\n> quote\r\n- item\u2028next\u0085line\u202Eback\u200Bzero",
];

test.each(INJECTIONS)("nothing of %j is read as markup, a link or a mention", (text) => {
  const evil = alarm({ subject: text, detail: { message: text, hint: text } });
  const calm = alarm({ subject: "x", detail: { message: "x", hint: "x" } });
  for (const [name, draw] of Object.entries(FORMS))
    for (const alarms of [1, 2]) {
      const of = (each: Alarm) =>
        draw(message({ alarms: Array.from({ length: alarms }, () => each), node: each.subject }));
      // The markup of a message is ours alone: as much of it as where the texts have none.
      const count = (drawn: string) => {
        const shown = drawn.replaceAll(/\/#\/[^\s)"]*/g, "");
        return ["<", ">", "[", "]", "@", "`", "*", "~", "|", "\\", "&", "\n", "://", "www."].map(
          (mark) => [name, mark, shown.split(mark).length] as const,
        );
      };
      expect(count(of(evil))).toEqual(count(of(calm)));
      expect(of(evil)).not.toMatch(/[\u2028\u0085\u202E\u200B\r]/);
    }
});

test("a link leads to the page on which something can be done, whatever the name is", () => {
  const linkOf = (changes: Partial<Alarm>) =>
    /\]\((\S+)\)/.exec(wecomMarkdown(message({ alarms: [alarm(changes)] })))?.[1];
  const base = "https://token.example.com/console/#";
  expect(linkOf({ subject: "a)[x](b" })).toBe(`${base}/apps/a%29%5Bx%5D%28b`);
  expect(linkOf({ condition: "key_ends", subject: "shop-prod" })).toBe(`${base}/clients/shop-prod`);
  expect(linkOf({ condition: "disk_low", subject: "node-1" })).toBe(`${base}/settings?tab=nodes`);
  expect(linkOf({ condition: "backup_stale", subject: "" })).toBe(`${base}/`);
  const { consoleUrl: _none, ...without } = message();
  expect(wecomMarkdown(without)).not.toContain("](");
});

test("each kind of message has the same word for a bot's keyword, in its title too", () => {
  for (const kind of MESSAGE_KINDS) expect(headline(message({ kind }))).toContain("告警");
});

test("a platform without tickets is told with its page, and with the whole of what to do", () => {
  for (const [id, end] of [
    ["wx00000000000000c1", "accesstoken platforms start-pushing wx00000000000000c1)"],
    ["ww00000000000000d1", "push the ticket by hand in the provider's console)"],
  ] as const) {
    const text = plainText(message({ alarms: [silent(id)] }));
    expect(text).toContain(`平台 (platform)：${id}`);
    expect(text).toContain(end);
    expect(text).toContain(`https://token.example.com/console/#/platforms/${id}`);
  }
});
