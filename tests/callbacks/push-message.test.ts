import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { PushRefused } from "../../src/callbacks/push-crypto.ts";
import { cdata, readPushFields, replacePushFields } from "../../src/callbacks/push-fields.ts";
import { dedupeKeyOf, readPushMessage } from "../../src/callbacks/push-message.ts";
import type { VerifiedPush } from "../../src/callbacks/verify-push.ts";
import { KEYS, vector } from "./push-vectors.ts";

function push(text: string, isEncrypted = true): VerifiedPush {
  return {
    kind: "push",
    message: Buffer.from(text),
    format: text.startsWith("{") ? "json" : "xml",
    key: KEYS.MADE_UP,
    keyIndex: 0,
    isEncrypted,
    receiveId: "wxa000000000000001",
    nonce: "1",
    timestamp: 1_790_000_000,
    isSkewed: false,
  };
}

const read = (text: string) => readPushMessage(push(text));
const keyOf = (text: string, isEncrypted = true) =>
  dedupeKeyOf(push(text, isEncrypted), readPushMessage(push(text, isEncrypted)));
const fieldsOf = (text: string) => Object.fromEntries(readPushFields(Buffer.from(text)).fields);

test("the fields of a text message of WeCom are read", () => {
  expect(read(vector("a text message that WeCom sent in 2021").message!)).toEqual({
    toUserName: "wwedab3d5fc43636d8",
    fromUserName: "WangChaoYi",
    createTime: 1623301925,
    msgType: "text",
    event: undefined,
    eventKey: undefined,
    content: "密文测试",
    msgId: "6972028683187026694",
    agentId: "1000005",
    infoType: undefined,
    platformApp: undefined,
  });
});

test("the fields of an event in JSON are read", () => {
  expect(read(vector("a mini program's JSON push of WeChat's page").message!)).toMatchObject({
    toUserName: "gh_97417a04a28d",
    fromUserName: "o9AgO5Kd5ggOC-bXrbNODIiE3bGY",
    createTime: 1714112445,
    msgType: "event",
    event: "debug_demo",
    msgId: undefined,
  });
});

test("what a third-party platform is told is read, with a blank before its CDATA section too", () => {
  expect(read(vector("authorized").message!)).toMatchObject({
    infoType: "authorized",
    platformApp: "wxc000000000000001",
    createTime: 1790000000,
  });
  const suite = read(vector("suite_ticket, a blank before its CDATA section").message!);
  expect(suite).toMatchObject({
    infoType: "suite_ticket",
    platformApp: "ww5000000000000001",
    createTime: 1790000000,
    fromUserName: undefined,
  });
});

test("an event key is read beside elements that have their own fields", () => {
  const scan = `<ScanCodeInfo><ScanType><![CDATA[qrcode]]></ScanType><EventKey>not this one</EventKey></ScanCodeInfo>`;
  const text = `<xml><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[scancode_push]]></Event>${scan}<EventKey><![CDATA[6]]></EventKey></xml>`;
  expect(read(text)).toMatchObject({ event: "scancode_push", eventKey: "6" });
  expect(fieldsOf(text)).toEqual({ MsgType: "event", Event: "scancode_push", EventKey: "6" });
});

test("an empty EventKey is none", () => {
  expect(read("<xml><EventKey></EventKey><Event/></xml>")).toMatchObject({
    eventKey: undefined,
    event: undefined,
  });
});

test("a field's content is replaced, however deep and however it is written, and nothing beside it", () => {
  const hide = (name: string) => (name === "A" ? "x" : undefined);
  const replaced = (text: string) => Buffer.from(replacePushFields(Buffer.from(text), hide)).toString();
  const instead = "<![CDATA[x]]>";
  const texts = [
    ["<xml><A>1</A><B>1</B></xml>", `<xml><A>${instead}</A><B>1</B></xml>`],
    [
      "<xml><B><A k='1'>&lt;<![CDATA[1</A>]]></A></B><A/></xml>",
      `<xml><B><A k='1'>${instead}</A></B><A/></xml>`,
    ],
    ["<xml><A><B>1</B><A>2</A></A> <A>3</A ></xml>", `<xml><A>${instead}</A> <A>${instead}</A ></xml>`],
    ['{"A":1,"B":{"A":"2","C":[{"A":{"D":3}}]},"E":4}', '{"A":"x","B":{"A":"x","C":[{"A":"x"}]},"E":4}'],
  ];
  for (const [text = "", expected = ""] of texts) expect(replaced(text)).toBe(expected);
  for (const text of [" <xml><A></A><A> </A><B>A</B></xml>\n", ' {"A":"","B":24000000000000001}']) {
    const bytes = Buffer.from(text);
    expect(replacePushFields(bytes, hide)).toBe(bytes);
  }
  expect(() => replaced("<xml><A>1</xml>")).toThrow(PushRefused);
});

test("trap 16: a MsgId above 2^53 keeps all its digits, as a number in JSON, as text in JSON and in XML", () => {
  for (const id of ["6972028683187026694", "24000000000000001", "9007199254740993"])
    for (const text of [
      `{"MsgId":${id}}`,
      `{"MsgId":"${id}"}`,
      `{ "a":[{"MsgId":1}], "MsgId" : ${id} }`,
      `<xml><MsgId>${id}</MsgId></xml>`,
    ])
      expect(read(text).msgId).toBe(id);
});

test("a text split over CDATA sections, and the five entities of XML, are put together", () => {
  const { message } = vector("characters of several bytes, a split CDATA section");
  expect(fieldsOf(message!)["Content"]).toBe("你好 👋 ]]>");
  expect(fieldsOf("<xml><a>1 &lt; 2 &amp;&amp; &#x4F60;&#22909; &quot;&apos;&gt;</a></xml>")).toEqual({
    a: `1 < 2 && 你好 "'>`,
  });
});

test("an XML declaration, a byte order mark, attributes and white space are no obstacle", () => {
  const text = `\uFEFF<?xml version="1.0" encoding="UTF-8"?>\n<xml a="1" b='>'>\n <A x = "]]&gt;">1</A >\n <B/></xml>\n`;
  expect(fieldsOf(text)).toEqual({ A: "1", B: "" });
});

test("of a field that is there twice one counts, and what is no text or number is left out", () => {
  expect(fieldsOf("<xml><a>1</a><a>2</a><b><c>3</c></b></xml>")).toEqual({ a: "1" });
  expect(fieldsOf('{"a":1,"a":2,"b":{"c":3},"d":null,"e":[1],"f":true,"__proto__":"x"}')).toMatchObject({
    a: "2",
  });
  expect(Object.keys(fieldsOf('{"b":{"c":3},"d":null,"e":[1],"f":true}'))).toEqual([]);
});

test("a message that was cut in the middle of a character is read", () => {
  const bytes = Buffer.concat([
    Buffer.from("<xml><Content>"),
    Buffer.from("你").subarray(0, 2),
    Buffer.from("</Content><MsgId>7</MsgId></xml>"),
  ]);
  expect(readPushMessage({ message: bytes }).msgId).toBe("7");
});

const BOMB = Array.from({ length: 9 }, (_, n) => `<!ENTITY e${n + 1} "${`&e${n};`.repeat(10)}">`).join("");
test.each([
  ["a document type", `<!DOCTYPE xml><xml><a>1</a></xml>`],
  ["entities that grow", `<!DOCTYPE xml [<!ENTITY e0 "x">${BOMB}]><xml><a>&e9;</a></xml>`],
  ["a file as an entity", `<!DOCTYPE xml [<!ENTITY e SYSTEM "file:///etc/passwd">]><xml><a>&e;</a></xml>`],
  ["a document type inside", `<xml><!DOCTYPE a><a>1</a></xml>`],
  ["an unknown entity", "<xml><a>&nbsp;</a></xml>"],
  ["the name of a method as an entity", "<xml><a>&toString;</a></xml>"],
  ["an ampersand alone", "<xml><a>a&b</a></xml>"],
  ["a character that does not exist", "<xml><a>&#x110000;</a></xml>"],
  ["a zero character", "<xml><a>&#0;</a></xml>"],
  ["a comment", "<xml><!-- --><a>1</a></xml>"],
  ["a processing instruction", "<xml><?php 1 ?><a>1</a></xml>"],
  ["two roots", "<xml></xml><xml></xml>"],
  ["a web page", "<html><body>404</body></html>"],
  ["text before the root", "x<xml></xml>"],
  ["text after the root", "<xml></xml>x"],
  ["a CDATA section outside", "<![CDATA[<xml></xml>]]>"],
  ["an end without a start", "</xml>"],
  ["crossed elements", "<xml><a><b></a></b></xml>"],
  ["an element that does not end", "<xml><a>1</xml>"],
  ["a CDATA section that does not end", "<xml><a><![CDATA[1</a></xml>"],
  ["33 levels", `<xml>${"<a>".repeat(32)}${"</a>".repeat(32)}</xml>`],
  ["a million levels", "<xml>".repeat(200_000)],
  ["attributes without end", `<xml ${"a=".repeat(400_000)}`],
  ["blanks in a tag without end", `<xml${" ".repeat(900_000)}`],
  ["JSON that is cut", `{"a":1`],
  ["JSON of a million levels", `{"a":${"[".repeat(900_000)}`],
  ["well-formed JSON of many levels", `{"a":${"[".repeat(400_000)}${"]".repeat(400_000)}}`],
  ["a JSON list", `[{"a":1}]`],
  ["nothing", ""],
])("%s is refused, at once", (_, text) => {
  const started = performance.now();
  expect(() => readPushFields(Buffer.from(text))).toThrow(new PushRefused("malformed"));
  expect(performance.now() - started).toBeLessThan(20_000);
});

test("a message that can't be read has no fields, and is recognised by its content", () => {
  for (const text of ["<xml", "{", ""]) {
    expect(Object.values(read(text)).every((value) => value === undefined)).toBe(true);
    expect(keyOf(text)).toMatch(/^~[\w-]{43}$/);
  }
});

test("a text that would end its CDATA section is split", () => {
  for (const text of ["]]>", "a]]>b]]>", "]]]]>>", "]]", "<a>&amp;</a>"])
    expect(fieldsOf(`<xml><a>${cdata(text)}</a></xml>`)).toEqual({ a: text });
});

test("any text and any digits survive a way through XML and through JSON", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "grapheme", maxLength: 60 }),
      fc.bigInt({ min: 0n, max: 2n ** 70n }),
      (content, id) => {
        const text = Buffer.from(content).toString().trim();
        expect(fieldsOf(`<xml><C>${cdata(text)}</C><MsgId>${id}</MsgId></xml>`)).toEqual({
          C: text,
          MsgId: String(id),
        });
        expect(fieldsOf(`{"C":${JSON.stringify(text)},"MsgId":${id}}`)).toEqual({
          C: text,
          MsgId: String(id),
        });
      },
    ),
    { seed: 15, numRuns: 1000 },
  );
});

test("a message is recognised by its MsgId, whatever else WeChat's next attempt may change", () => {
  const text = (id: string, time: number) =>
    `<xml><CreateTime>${time}</CreateTime><MsgId>${id}</MsgId></xml>`;
  expect(keyOf(text("6972028683187026694", 1))).toBe("6972028683187026694");
  expect(keyOf(text("6972028683187026694", 2))).toBe("6972028683187026694");
  expect(keyOf(`{"MsgId":"49d72d67b16d_1555684067"}`)).toBe("49d72d67b16d_1555684067");
});

test("a plain push with the MsgId of another has another key: its body is not signed", () => {
  const keys = ["real", "forged"].map((content) =>
    keyOf(`<xml><Content>${content}</Content><MsgId>7</MsgId></xml>`, false),
  );
  for (const key of keys) expect(key).toMatch(/^7~[\w-]{43}$/);
  expect(keys[0]).not.toBe(keys[1]);
});

test("an event is recognised by its content: bulk changes of one second are not repeats of each other", () => {
  const change = (user: string) =>
    `<xml><FromUserName>sys</FromUserName><CreateTime>1790000000</CreateTime><MsgType>event</MsgType><Event>change_contact</Event><UserID>${user}</UserID></xml>`;
  expect(keyOf(change("zhang"))).toBe(keyOf(change("zhang")));
  expect(keyOf(change("zhang"))).not.toBe(keyOf(change("li")));
});

test("a MsgId that would not fit into a header is not used", () => {
  for (const id of ["1\r\nx: 1", "你好", "1".repeat(81), "a b"])
    expect(keyOf(JSON.stringify({ MsgId: id }))).toMatch(/^~[\w-]{43}$/);
});
