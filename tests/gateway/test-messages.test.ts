import { expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { RECIPIENT_FIELDS } from "../../src/access/test-messages.ts";
import type { WantedClient } from "../support/access-harness.ts";
import { Harness } from "../support/harness.ts";
import { type CallAnswer, GatewayHarness, WECOM_APP, WX_APP } from "./gateway-harness.ts";

const LISTED = ["oListed-0000000000000000001x", "oListed_0000000000000000002x"] as const;
const FOREIGN = "oForeign00000000000000000009";
const SEND = "/cgi-bin/message/custom/send";
const [MINE] = LISTED;
const TEXT = { msgtype: "text", text: { content: "你好\n\u0001" } };

interface Received {
  readonly path: string;
  readonly url: string;
  readonly type: string | null;
  readonly bytes: Buffer;
}

/** A client with test openids, and all that reaches the sandbox of it, byte by byte. */
async function setup(policy: object = {}, client: Partial<WantedClient> = {}) {
  const received: Received[] = [];
  const recorder = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => {
      const { pathname, search } = new URL(request.url);
      const bytes = Buffer.from(await request.arrayBuffer());
      if (!pathname.endsWith("token"))
        received.push({ path: pathname, url: request.url, type: request.headers.get("content-type"), bytes });
      const { method, headers } = request;
      const body = bytes.length > 0 ? { body: bytes } : {};
      return fetch(it.sandbox.weixinUrl + pathname + search, { method, headers, ...body });
    },
  });
  const it: GatewayHarness = await GatewayHarness.create({
    environment: { WEIXIN_BASE_URL: `http://127.0.0.1:${recorder.port}` },
    client: { policy: { preset: "safe", test_openids: LISTED, ...policy }, ...client },
    // A body that was refused unread keeps its connection busy.
    stopMs: 100,
  });
  const token = await it.token();
  const dispose = async () => {
    await it[Symbol.asyncDispose]();
    await recorder.stop(true);
  };
  /** Sends a body as it stands. */
  const send = (path: string, body: string | Uint8Array | object, init: RequestInit = {}) => {
    const sent = typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body);
    return it.send(`${path}?access_token=${token}`, { method: "POST", body: sent, ...init });
  };
  return { it, received, token, send, [Symbol.asyncDispose]: dispose };
}

/** A JSON text in which every letter is escaped. */
function escapedOf(text: string): string {
  return text.replaceAll(/./g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

test.each([...RECIPIENT_FIELDS].flatMap(([path, fields]) => fields.map((field) => [path, field] as const)))(
  "%s sends to a listed %s, and to nobody else",
  async (path, field) => {
    await using t = await setup();
    const refusedFor = async (to: unknown) =>
      (await t.send(path, { ...TEXT, [field]: to })).errcode === 48001;
    for (const to of [MINE, [MINE], LISTED]) expect([to, await refusedFor(to)]).toEqual([to, false]);
    expect(t.received.map(({ bytes }) => bytes.toString())).toEqual(
      [MINE, [MINE], LISTED].map((to) => JSON.stringify({ ...TEXT, [field]: to })),
    );
    for (const to of [FOREIGN, [MINE, FOREIGN], [[MINE]], [], "", null, 1, { MINE }, `${MINE},${MINE}`])
      expect([to, await refusedFor(to)]).toEqual([to, true]);
    expect(await refusedFor(undefined)).toBe(true);
    expect(t.received).toHaveLength(3);
  },
);

test("what goes up is the service's own writing of the message, whatever it looked like", async () => {
  await using t = await setup();
  const body = ` {"\\u0074ouser" :\t"${escapedOf(MINE)}", "msgtype":"text",\r\n"text":{"content":"\\u4f60\\/"}, "n": 1.50 } `;
  const headers = { "content-type": "application/x-www-form-urlencoded; charset=utf-7" };
  expect((await t.send(SEND, body, { headers })).errcode).toBe(0);
  const text = `{"touser":"${MINE}","msgtype":"text","text":{"content":"你/"},"n":1.5}`;
  expect(t.received.map(({ bytes, type }) => [bytes.toString(), type])).toEqual([[text, "application/json"]]);
});

test("the refusal says what is wrong, and counts as a denial", async () => {
  await using t = await setup();
  const { errcode, errmsg } = await t.send(SEND, { touser: FOREIGN, ...TEXT });
  expect(errcode).toBe(48001);
  expect(errmsg).toContain("its recipients stand in touser at the top level alone");
  expect(errmsg).not.toContain(FOREIGN);
  await t.it.world.stop();
  await t.it.world.start();
  const { text } = await t.it.world.administer("/v1/audit/denials?client=program");
  expect(text).toContain("/cgi-bin/message/**");
});

test.each(["/cgi-bin/message/mass/send", "/cgi-bin/message/mass/sendall", "/cgi-bin/message/mass/preview"])(
  "%s stays refused with listed recipients too",
  async (path) => {
    await using t = await setup();
    expect((await t.send(path, { touser: LISTED, ...TEXT })).errcode).toBe(48001);
    expect(t.received).toEqual([]);
  },
);

test("a list of the client's own opens no way around its test openids, and what it denies stays denied", async () => {
  await using open = await setup({ allow: ["/cgi-bin/message/**"] });
  expect((await open.send(SEND, { touser: FOREIGN, ...TEXT })).errcode).toBe(48001);
  expect((await open.send(SEND, { touser: MINE, ...TEXT })).errcode).toBe(0);
  await using shut = await setup({ deny: [SEND] });
  expect((await shut.send(SEND, { touser: MINE, ...TEXT })).errcode).toBe(48001);
});

test("on WeCom a message stays refused", async () => {
  await using t = await setup();
  const headers = { "x-api-key": t.it.key };
  const path = `/gateway/${WECOM_APP}/cgi-bin/message/send`;
  expect((await t.it.post(path, { touser: MINE }, { headers })).errcode).toBe(48002);
});

test("a message of a client that loses its test openids while the body comes in is not sent", async () => {
  await using t = await setup({}, { concurrency: 1 });
  const late = Promise.withResolvers<void>();
  const body = new ReadableStream<Uint8Array>({
    async start(controller) {
      controller.enqueue(Buffer.from(`{"touser":`));
      await late.promise;
      controller.enqueue(Buffer.from(`"${FOREIGN}"}`));
      controller.close();
    },
  });
  const call = t.it.send(`${SEND}?access_token=${t.token}`, { method: "POST", body });
  const other = `/cgi-bin/user/get?access_token=${t.token}`;
  await Harness.until(async () => (await t.it.send(other)).errcode === 45011);
  const before = t.received.length;
  const { code } = await t.it.world.administer("/v1/clients/program", {
    method: "PATCH",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ policy: { preset: "safe" } }),
  });
  expect(code).toBe(0);
  late.resolve();
  expect((await call).errcode).toBe(48001);
  expect((await t.send(SEND, { touser: MINE, ...TEXT })).errcode).toBe(48001);
  expect(t.received).toHaveLength(before);
});

const ONE = JSON.stringify({ touser: MINE, ...TEXT });

test.each([
  [
    "with a content encoding",
    { body: ONE, headers: { "content-encoding": "identity" } },
    "no content encoding",
  ],
  ["with a byte order mark", { body: `\uFEFF${ONE}` }, "no byte order mark"],
  ["in UTF-16", { body: Buffer.from(ONE, "utf16le") }, "the body is not JSON"],
  ["with a name twice", { body: ONE.replace("{", `{"msgtype":"text",`) }, "a name is given twice"],
  [
    "with a name of odd letters",
    { body: ONE.replace("msgtype", "msgtyp\u0435") },
    "a name with other characters",
  ],
  [
    "with a number that is no JavaScript number",
    { body: ONE.replace("{", `{"n":1e400,`) },
    "would not be sent as it is",
  ],
  [
    "with a recipient elsewhere",
    { body: ONE.replace(`{"content"`, `{"touser":"","content"`) },
    "at the top level alone",
  ],
  [
    "that is nested too deep",
    { body: ONE.replace("{", `{"n":${"[".repeat(30_000)}${"]".repeat(30_000)},`) },
    "nested too deep",
  ],
  ["by PUT", { body: ONE, method: "PUT" }, "POST it"],
] as const)("a message to listed openids %s is refused, and told why", async (_, init, reason) => {
  await using t = await setup();
  const { errcode, errmsg } = await t.send(SEND, init.body, init);
  expect(errcode).not.toBe(0);
  expect(errmsg).toContain(reason);
  expect(t.received).toEqual([]);
});

const KIB_64 = 64 * 1024;

test.each([
  [KIB_64 - 1, 0],
  [KIB_64, 0],
  [KIB_64 + 1, 48001],
  [2 * 1024 * 1024, 48001],
])("a message of %i bytes is answered with %i", async (size, errcode) => {
  await using t = await setup();
  expect((await t.send(SEND, padded({ touser: MINE }, size))).errcode).toBe(errcode);
});

function padded(message: object, size: number): string {
  const bare = JSON.stringify({ ...message, pad: "" });
  return JSON.stringify({ ...message, pad: "x".repeat(size - bare.length) });
}

/** One call that tries to reach a foreign openid, or only listed ones where `isPlain`. */
interface Variant {
  readonly path: string;
  readonly body: Uint8Array;
  readonly headers: Record<string, string>;
  readonly method: string;
  readonly query: string;
  readonly isChunked: boolean;
}

/** The same numbers each time, so that a failure can be met again. */
function randomOf(seed: number) {
  let state = seed;
  const below = (end: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * end);
  };
  return { below, of: <T>(list: readonly T[]): T => list[below(list.length)] as T };
}
type Random = ReturnType<typeof randomOf>;

/** Names that some reader may take for `field`. */
function namesLike(field: string): string[] {
  return [
    ...[
      field.toUpperCase(),
      `T${field.slice(1)}`,
      field.replace("u", "U"),
      field.replace("o", "0"),
      "toUser",
      "OpenId",
    ],
    ...[
      `${field} `,
      ` ${field}`,
      `${field}\u0000`,
      `${field}\u0000x`,
      `${field}[]`,
      `${field}.0`,
      `$${field}`,
      `${field}\t`,
    ],
    ...[
      field.replace("s", "ſ"),
      field.replace("o", "ｏ"),
      field.replace("e", "е"),
      `\uFEFF${field}`,
      `${field}\u200B`,
    ],
    ...[
      "to_user",
      "to-user",
      "touserid",
      "openid",
      "open_id",
      "unionid",
      "towxname",
      "to_openid_list",
      "__proto__",
      "",
    ],
  ];
}

/** Bodies as text, each with the foreign openid in a place of its own. */
const TEXTS: readonly ((field: string, random: Random) => string)[] = [
  (field) => `{"${field}":"${FOREIGN}"}`,
  (field) => `{"${field}":"${FOREIGN}","${field}":"${MINE}"}`,
  (field) => `{"${field}":"${MINE}","${field}":"${FOREIGN}"}`,
  (field) => `{"${field}":"${MINE}","${escapedOf(field)}":"${FOREIGN}"}`,
  (field) => `{"${escapedOf(field)}":"${FOREIGN}","${field}":"${MINE}"}`,
  (field) => `{"${field}":"${MINE}","a":{"b":[{"${field}":"x","${field}":"${FOREIGN}"}]}}`,
  (field) => `{"${field}":"${MINE}","a":{"x":1,"\\u0078":"${FOREIGN}"}}`,
  (field) => `{"${field}":"${escapedOf(FOREIGN)}"}`,
  (field) => `{"${field}":["${MINE}","${escapedOf(FOREIGN)}"]}`,
  (field) => `{"${field}":[["${MINE}"],["${FOREIGN}"]]}`,
  (field) => `{"${field}":["${FOREIGN}"]}`,
  (field) => `{"${field}":[{"${field}":"${FOREIGN}"}]}`,
  (field) => `{"${field}":{"0":"${FOREIGN}"}}`,
  (field) => `{"${field}":{"${MINE}":"${FOREIGN}"}}`,
  (field, random) =>
    `{"${field}":"${MINE}${random.of([",", "|", ";", " ", "\\n", "\\u0000", "%2C", "nested too deep"])}${FOREIGN}"}`,
  (field, random) => `{"${field}":"${FOREIGN}${random.of([" ", "\\u0000", "\\u0000x", ","])}${MINE}"}`,
  (field, random) =>
    `{"${field}":"${MINE}","${random.of(["text", "data", "message", "msg", "__proto__"])}":{"${field}":"${FOREIGN}"}}`,
  (field, random) => `{"${random.of(["a", "data", "0"])}":{"${field}":"${MINE}"},"${field}":"${FOREIGN}"}`,
  (field) => `{"message":{"${field}":"${FOREIGN}"}}`,
  (field) => `[{"${field}":"${MINE}"},{"${field}":"${FOREIGN}"}]`,
  (field) => `[{"${field}":"${FOREIGN}"}]`,
  (field) => `{"${field}":"${MINE}"}{"${field}":"${FOREIGN}"}`,
  (field) => `{"${field}":"${MINE}"}\n{"${field}":"${FOREIGN}"}\n`,
  (field) => `{"${field}":"${MINE}"}\u0000{"${field}":"${FOREIGN}"}`,
  (field) => `{"${field}":"${MINE}"/*","${field}":"${FOREIGN}"/**/}`,
  (field) => `{"${field}":"${MINE}",'${field}':'${FOREIGN}'}`,
  (field) => `{"${field}":"${MINE}",${field}:"${FOREIGN}",}`,
  (field) => `${field}=${FOREIGN}&msgtype=text`,
  (field) => `${field}=${MINE}&${field}=${FOREIGN}`,
  (field) => `{"${field}":"${MINE}"}&${field}=${FOREIGN}`,
  (field) => `<xml><${field}>${FOREIGN}</${field}></xml>`,
  (field) =>
    `{"${field}":${["1e999", "-0", "12345678901234567890", "null", "true", "0x1"][field.length % 6]},"x":"${FOREIGN}"}`,
  (field, random) => {
    const name = JSON.stringify(random.of(namesLike(field)));
    return random.of([
      `{"${field}":"${MINE}",${name}:"${FOREIGN}"}`,
      `{${name}:"${FOREIGN}","${field}":"${MINE}"}`,
      `{${name}:"${FOREIGN}"}`,
      `{"${field}":"${MINE}","text":{${name}:"${FOREIGN}"}}`,
      `{"${field}":"${MINE}",${name}:["${FOREIGN}"]}`,
    ]);
  },
  (field) =>
    `--b\r\nContent-Disposition: form-data; name="${field}"\r\n\r\n${FOREIGN}\r\n--b\r\nContent-Disposition: form-data; name="body"\r\n\r\n{"${field}":"${MINE}"}\r\n--b--\r\n`,
  (field, random) => padded({ [field]: FOREIGN }, KIB_64 - 1 + random.below(3)),
  (field) => `{"a":${"[".repeat(20_000)}{"${field}":"${FOREIGN}"}${"]".repeat(20_000)},"${field}":"${MINE}"}`,
];

/** Bodies that name listed openids alone. */
const PLAIN: typeof TEXTS = [
  (field) => `{"${field}":"${MINE}","msgtype":"text"}`,
  (field) => ` {"${escapedOf(field)}":["${MINE}","${LISTED[1]}"],"data":{"thing1":{"value":"你好"}}}`,
  (field, random) => padded({ [field]: MINE }, KIB_64 - 1 + random.below(3)),
  (field) => `{"${field}":"${MINE}","n":[1,-2.5e3,0.1,9007199254740991]}`,
  (field) => `{"${field}":"${MINE}","n":9007199254740993}`,
];

const utf16be = (text: string) => Buffer.from(text, "utf16le").swap16();
const utf32 = (text: string) => Buffer.from(Uint32Array.from(Buffer.from(text, "latin1")).buffer);

/** How a text becomes bytes, with the content encoding that says so. */
const BYTES: readonly ((text: string) => readonly [Uint8Array, string?])[] = [
  ...Array.from({ length: 16 }, () => (text: string) => [Buffer.from(text)] as const),
  (text) => [Buffer.from(`\uFEFF${text}`)],
  (text) => [Buffer.from(text, "utf16le")],
  (text) => [Buffer.from(`\uFEFF${text}`, "utf16le")],
  (text) => [utf16be(text)],
  (text) => [utf16be(`\uFEFF${text}`)],
  (text) => [utf32(text)],
  (text) => [gzipSync(text), "gzip"],
  (text) => [Bun.deflateSync(text), "deflate"],
  (text) => [gzipSync(text)],
  (text) => [Buffer.from(text), "identity"],
  (text) => [Buffer.from(text), "gzip"],
  // An overlong form of a letter, and a byte that is none of UTF-8.
  (text) => [Buffer.from(text.replace("o", "\u00C1\u00AF"), "latin1")],
  (text) => [Buffer.concat([Buffer.from(text), Buffer.of(0xff)])],
  (text) => [
    Buffer.from(
      text.replaceAll(/[a-z]/g, (letter) => `+${Buffer.from(`\0${letter}`).toString("base64").slice(0, 3)}-`),
    ),
  ],
];

const TYPES = [
  ...[
    "application/json",
    "application/json; charset=utf-8",
    "text/plain",
    "application/x-www-form-urlencoded",
  ],
  ...[
    "application/json; charset=utf-16",
    "application/json; charset=utf-7",
    "application/json; charset=gbk",
    "text/xml",
  ],
  ...[
    "multipart/form-data; boundary=b",
    "multipart/mixed; boundary={",
    "application/octet-stream",
    "",
    "made up",
  ],
];

function variantOf(random: Random): Variant {
  const [known, [field = ""]] = random.of([...RECIPIENT_FIELDS]);
  const isOther = random.below(10) === 0;
  const others = [
    "/cgi-bin/message/mass/send",
    "/cgi-bin/message/mass/preview",
    "/wxa/business/push_message",
    `${known}/x`,
  ];
  const plain = isOther ? random.of(others) : known;
  const path = random.of([
    plain,
    plain,
    plain,
    plain.toUpperCase(),
    `${plain}/`,
    `/${plain}`,
    plain.replace("send", "s%65nd"),
  ]);
  const text = random.of(random.below(3) === 0 ? PLAIN : TEXTS)(field, random);
  const [body, encoding] = random.of(BYTES)(text);
  const type = random.of(TYPES);
  return {
    path,
    body,
    headers: {
      ...(type ? { "content-type": type } : {}),
      ...(encoding ? { "content-encoding": encoding } : {}),
      ...(random.below(12) === 0
        ? { "x-http-method-override": "GET", "x-original-url": `${SEND}?${field}=${FOREIGN}` }
        : {}),
    },
    method: random.of([
      "POST",
      "POST",
      "POST",
      "POST",
      "POST",
      "POST",
      "POST",
      "PUT",
      "PATCH",
      "DELETE",
      "GET",
    ]),
    query: random.of([
      "",
      "",
      "",
      "",
      "",
      "",
      `&${field}=${FOREIGN}`,
      `&x=${FOREIGN}`,
      `&Access_Token=${FOREIGN}`,
      "&debug=1",
    ]),
    isChunked: random.below(4) === 0,
  };
}

/** Everything that a reader could make of what was received. */
function readingsOf({ url, bytes }: Received): string[] {
  const text = bytes.toString();
  const texts = [
    url,
    text,
    bytes.toString("latin1"),
    bytes.toString("utf16le"),
    bytes.toString("utf16le", 1),
  ];
  try {
    texts.push(JSON.stringify(JSON.parse(text)));
  } catch {
    // No JSON.
  }
  return texts.map((each) =>
    each.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number(`0x${hex}`))),
  );
}

const VARIANTS = 2000;

test("of 2,000 ways to write a message none lets a foreign openid reach the sandbox", async () => {
  await using t = await setup();
  t.it.sandbox.resetCalls();
  const random = randomOf(20_270_131);
  const variants = Array.from({ length: VARIANTS }, () => variantOf(random));
  let sent = 0;
  const call = async ({ path, body, headers, method, query, isChunked }: Variant): Promise<CallAnswer> => {
    const isKeyed = sent++ % 2 === 0;
    const url = isKeyed
      ? `/gateway/${WX_APP}${path}${query.replace("&", "?")}`
      : `${path}?access_token=${t.token}${query}`;
    // A GET with a body can't be written by fetch.
    const stream = isChunked ? new Blob([body]).stream() : body;
    const init = method === "GET" ? {} : { body: stream };
    const all = isKeyed ? { ...headers, "x-api-key": t.it.key } : headers;
    return t.it.send(url, { method, headers: all, ...init });
  };
  const queue = [...variants];
  const answers: CallAnswer[] = [];
  const worker = async () => {
    for (let next = queue.pop(); next; next = queue.pop()) answers.push(await call(next));
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  expect(answers).toHaveLength(VARIANTS);

  const messages = t.received;
  expect(t.it.sandbox.calls()).toBe(messages.length);
  expect(messages.filter((each) => readingsOf(each).some((text) => text.includes(FOREIGN)))).toEqual([]);
  for (const { path, bytes, type } of messages) {
    const message = JSON.parse(bytes.toString()) as Record<string, unknown>;
    const [field = ""] = RECIPIENT_FIELDS.get(path.toLowerCase().replace(/\/$/, "")) ?? [];
    expect([message[field]].flat().filter((to) => !LISTED.some((each) => each === to))).toEqual([]);
    expect([bytes.toString(), type]).toEqual([JSON.stringify(message), "application/json"]);
  }
  // Enough of them came through that the rest was not refused for a reason of its own.
  expect(messages.length).toBeGreaterThan(60);
  expect(new Set(messages.map(({ path }) => path.toLowerCase().replace(/\/$/, ""))).size).toBe(
    RECIPIENT_FIELDS.size,
  );
});
