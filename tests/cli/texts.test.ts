import { expect, test } from "bun:test";
import { jsonText } from "../../src/cli/exit.ts";
import { halfOf, localTime, textFields, textTable } from "../../src/cli/terminal.ts";
import { parseDuration, parseInstant } from "../../src/cli/argument-values.ts";

const NOW = Date.UTC(2027, 0, 15, 12);

test.each([
  ["600", 600],
  ["90s", 90],
  ["10m", 600],
  ["12h", 43_200],
  ["7d", 604_800],
  ["1w", 604_800],
  ["0", 0],
])("the duration %s is %d seconds", (text, seconds) => {
  expect(parseDuration("overlap", text, 604_800)).toBe(seconds);
});

test.each(["8d", "604801", "-1", "1.5h", "", "d", "1y", "tomorrow", "99999999999999s"])(
  "%j is no duration of at most 7 days",
  (text) => {
    expect(() => parseDuration("overlap", text, 604_800)).toThrow("--overlap: ");
  },
);

test("an instant is a time of a zone, a time or day of this machine's, or a while from now", () => {
  const at = (text: string, looksBack = false) => parseInstant("expires", text, NOW, looksBack);
  expect(at("2027-01-31T08:00+08:00")).toBe(Date.UTC(2027, 0, 31));
  expect(at("2027-01-31T08:00:30Z")).toBe(Date.UTC(2027, 0, 31, 8, 0, 30));
  expect(at("2027-01-31")).toBe(new Date(2027, 0, 31).getTime());
  expect(at("2028-02-29 23:59")).toBe(new Date(2028, 1, 29, 23, 59).getTime());
  expect(at("90d")).toBe(NOW + 90 * 86_400_000);
  expect(at("1y")).toBe(NOW + 365 * 86_400_000);
  expect(at("2026-01-01", true)).toBe(new Date(2026, 0, 1).getTime());
  expect(at("24h", true)).toBe(NOW - 86_400_000);
});

test.each([
  "2027-02-30",
  "2027-13-01",
  "2027-1-1",
  "2027-01-31T25:00",
  "1801440000000",
  "90",
  "",
  "101y",
  "2027-01-14",
  "2027-01-15T11:00Z",
  "now",
])("%j is no instant", (text) => {
  expect(() => parseInstant("expires", text, NOW, false)).toThrow("--expires: ");
});

test("a date that has passed is told as a date, with one that would do", () => {
  const expiring = () => parseInstant("expires", "2026-01-01", NOW, false);
  expect(expiring).toThrow("--expires: 该时间已过");
  expect(expiring).toThrow("it has passed: give a time to come, as 2027-04-15, 90d or 1y");
});

test("a time for people is of this machine's zone and names it", () => {
  const text = localTime(NOW);
  expect(text).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:00[+-]\d\d:\d\d$/);
  expect(new Date(text).getTime()).toBe(NOW);
  expect(localTime(undefined)).toBeUndefined();
});

test("columns are aligned by what is seen, Chinese being twice as wide", () => {
  expect(
    textTable(
      [
        { app: "wx1", title: "商城", end: "x" },
        { app: "wx22", title: undefined, end: "y" },
        { app: "", title: "shop", end: "" },
      ],
      { APP: ({ app }) => app, TITLE: ({ title }) => title, END: ({ end }) => end },
    ),
  ).toBe(["APP   TITLE  END", "wx1   商城   x", "wx22  -      y", "-     shop   -", ""].join("\n"));
  expect(textFields({ app: "wx1", nothing: undefined, 名称: "商城" })).toBe("app   wx1\n名称  商城\n");
});

test("what does not fit into 100 columns stands below, whole, and only what is wider than a line is cut, but no URL", () => {
  const row = { app: "w".repeat(40), title: "商城".repeat(12), end: `${"e".repeat(60)},${"f".repeat(50)}` };
  const bare = { app: "wx1", title: "-", end: "" };
  const columns = {
    APP: ({ app }: typeof row) => app,
    TITLE: ({ title }: typeof row) => title,
    END: ({ end }: typeof row) => end,
  };
  expect(textTable([row, bare], columns).split("\n")).toEqual([
    `APP${" ".repeat(39)}TITLE`,
    "    END",
    `${row.app}  ${row.title}`,
    `    ${"e".repeat(60)},`,
    `    ${"f".repeat(50)}`,
    `wx1${" ".repeat(39)}-`,
    "",
  ]);
  expect(textFields({ names: "一".repeat(60) }).split("\n")).toEqual([
    `names  ${"一".repeat(46)}`,
    `       ${"一".repeat(14)}`,
    "",
  ]);
  const url = `https://${"w".repeat(80)}.example.com/callback/wx1/$APPID$`;
  expect(textFields({ URL: url })).toBe(`URL  ${url}\n`);
});

test.each([
  ["没有该应用 (no such app)", "没有该应用", "no such app"],
  ["--rate: 应为1到10的整数 (must be an integer)", "--rate: 应为1到10的整数", "--rate: must be an integer"],
  ["有多个密钥 (several keys, say which): a, b", "有多个密钥: a, b", "several keys, say which: a, b"],
  [
    "请用 apps add (all) 添加 (add it by `apps add` (all))",
    "请用 apps add (all) 添加",
    "add it by `apps add` (all)",
  ],
  ["PORT: 甲 (one)\nHOST: 乙 (two)", "PORT: 甲\nHOST: 乙", "PORT: one\nHOST: two"],
  ["invalid ip 1.2.3.4 (rid: 1)", "invalid ip 1.2.3.4 (rid: 1)", "invalid ip 1.2.3.4 (rid: 1)"],
  ["商城", "商城", "商城"],
])("of %j one half is shown in each language", (text, zh, en) => {
  expect([halfOf(text, "zh"), halfOf(text, "en")]).toEqual([zh, en]);
});

test("what others wrote can't steer the terminal", () => {
  const text = textTable(["a\u001b[2Jb\r\nc\u009b1m"], { TITLE: (title) => title });
  expect(text).toBe("TITLE\na�[2Jb��c�1m\n");
});

const DECEPTIVE =
  "\u007f\u0080\u0085\u009b\u009f\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069\u200b\ufeff\u{e0041}";

test.each(DECEPTIVE.match(/./gsu) ?? [])(
  "a character that deceives the eye (%j) is seen in tables and escaped in JSON",
  (each) => {
    const text = `a${each}b`;
    expect(textTable([text], { TITLE: (title) => title })).toBe("TITLE\na�b\n");
    expect(textFields({ title: text })).toBe("title  a�b\n");
    const json = jsonText({ [text]: [text] });
    expect(json).not.toContain(each);
    expect(JSON.parse(json)).toEqual({ [text]: [text] });
  },
);

test("what only looks unusual stays as it is", () => {
  const text = "微信👩‍💻 é —";
  expect([textFields({ title: text }), jsonText(text)]).toEqual([`title  ${text}\n`, `"${text}"\n`]);
});
