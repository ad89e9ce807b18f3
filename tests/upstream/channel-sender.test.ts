import { expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { Networks } from "../../src/access/networks.ts";
import type { ChannelAddress, Message, SendOutcome } from "../../src/ops/notifications.ts";
import { type BotKind, defaultBots } from "../../src/sandbox/bots.ts";
import type { FaultEffect } from "../../src/sandbox/fault.ts";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { Secret } from "../../src/secret.ts";
import { dingtalkSign, feishuSign, webhookSignature } from "../../src/upstream/channel-requests.ts";
import { type ChannelSenderOptions, HttpChannelSender } from "../../src/upstream/channel-sender.ts";
import { AnsweringServer, httpAnswer, type Responder } from "../support/answering-server.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { selfSigned } from "./certificate.ts";

const BOTS = ["wecom", "dingtalk", "feishu"] as const satisfies readonly BotKind[];
const MINUTE_MS = 60_000;

const MESSAGE: Message = {
  kind: "firing",
  alarms: [
    {
      ...{ condition: "app_blocked", subject: "shop", severity: "critical", state: "firing", since: 0 },
      detail: { message: "出口IP不在白名单 (the address is not on the list)", errcode: 40164 },
    },
  ],
  ...{ omitted: 0, node: "node-1", at: Date.UTC(2026, 10, 22) },
};

function senderWith(options: Partial<ChannelSenderOptions> = {}) {
  return new HttpChannelSender({
    ...{ clock: new ManualClock(), proxyUrl: undefined, networks: new Networks("") },
    ...options,
  });
}

/** A sandbox with its bots as they are, and a sender with the same clock. */
function setup(options: Partial<ChannelSenderOptions> = {}) {
  const clock = new ManualClock();
  const sandbox = Sandbox.start({ clock, weixinApps: [], wecomApps: [] });
  const sender = senderWith({ clock, ...options });
  const addressOf = (kind: BotKind, secret?: string, mention: readonly string[] = []): ChannelAddress => ({
    ...{ kind, url: new Secret(sandbox.bots.urlOf(kind, sandbox.wecomUrl)), mention },
    ...(secret === undefined ? {} : { secret: new Secret(secret) }),
  });
  return {
    ...{ clock, sandbox },
    /** Sends to a bot as its group has set it up, unless told otherwise. */
    send: (kind: BotKind, message = MESSAGE, mention: readonly string[] = []) =>
      sender.send(addressOf(kind, defaultBots[kind].secret, mention), message),
    sendWith: (kind: BotKind, secret: string | undefined) => sender.send(addressOf(kind, secret), MESSAGE),
    [Symbol.asyncDispose]: () => sandbox.stop(),
  };
}

async function answering(respond: Responder) {
  const server = await AnsweringServer.start(respond);
  return { server, url: server.url, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

function refused(outcome: SendOutcome) {
  if (outcome.ok) throw new Error(`it was sent: ${outcome.answer}`);
  return outcome;
}

test("the signatures are those of the three pages", () => {
  // Computed with Python's hmac.
  const secret = "this is secret";
  expect(dingtalkSign(secret, 1_577_262_236_757)).toBe("hmPWwU+7lVdm3ZZz0r9tSfx0L4Q26jWOZr9+Gs6EZQM=");
  expect(feishuSign(secret, 1_599_360_473)).toBe("/eYKrXQBzTjUZJ3s6NX16VxGbTwmK7AEs8/FnvC1CSw=");
  expect(webhookSignature(secret, 1_599_360_473, '{"a":1}')).toBe(
    "t=1599360473,v1=90d5e38ebfc52949619d95ece8c817f03e52ca6fdffa95edfb3a98748cd20216",
  );
});

test.each(BOTS)("a message arrives at a bot of %s, in its form and signed as it asks", async (kind) => {
  await using world = setup();
  expect(await world.send(kind)).toMatchObject({ ok: true });
  const [arrived, ...others] = world.sandbox.bots.messages(kind);
  expect(others).toEqual([]);
  const text = JSON.stringify(arrived?.body);
  for (const part of ["告警 (alarm)", "应用被拒绝", "shop", "40164", "node-1"]) expect(text).toContain(part);
});

test("each bot mentions who is to be told in its own way, and nobody when an alarm has ended", async () => {
  await using world = setup();
  const told = { wecom: ["zhangsan", "13800000000"], dingtalk: ["13800000000", "user01"], feishu: ["ou_1"] };
  for (const kind of BOTS) {
    await world.send(kind, MESSAGE, told[kind]);
    expect([kind, world.sandbox.bots.messages(kind).at(-1)?.mentioned]).toEqual([kind, told[kind]]);
    await world.send(kind, MESSAGE, ["@all"]);
    expect([kind, world.sandbox.bots.messages(kind).at(-1)?.mentioned]).toEqual([kind, ["all"]]);
    await world.send(kind, { ...MESSAGE, kind: "resolved" }, ["@all"]);
    expect([kind, world.sandbox.bots.messages(kind).at(-1)?.mentioned]).toEqual([kind, []]);
  }
  expect(world.sandbox.bots.messages("wecom").map(({ body }) => body["msgtype"])).toEqual([
    ...["markdown", "text", "markdown", "text", "markdown"],
  ]);
});

test("a mention that WeCom refuses does not bring the message again", async () => {
  await using world = setup();
  for (let n = 0; n < 19; n++) await world.send("wecom");
  const outcome = await world.send("wecom", MESSAGE, ["@all"]);
  expect(outcome.ok).toBe(true);
  expect(outcome.answer).toMatch(/^errcode 0: ok; errcode 45009: api freq out of limit/);
});

const WRONG: [BotKind, number, (world: ReturnType<typeof setup>) => Promise<SendOutcome>, string][] = [
  ["wecom", 93_000, wrongKey("wecom"), "key"],
  ["dingtalk", 300_005, wrongKey("dingtalk"), "access_token"],
  ["feishu", 19_001, wrongKey("feishu"), "URL"],
  ["dingtalk", 310_000, (world) => world.sendWith("dingtalk", "SECwrong"), "secret"],
  ["dingtalk", 310_000, (world) => world.sendWith("dingtalk", undefined), "secret"],
  ["feishu", 19_021, (world) => world.sendWith("feishu", "wrong"), "secret"],
  ["dingtalk", 310_000, changed("dingtalk", { keywords: ["报警"] }), "告警"],
  ["feishu", 19_024, changed("feishu", { keywords: ["报警"] }), "告警"],
  ["dingtalk", 310_000, changed("dingtalk", { ips: ["203.0.113.7"] }), "allow-list"],
  ["feishu", 19_022, changed("feishu", { ips: ["203.0.113.7"] }), "allow-list"],
];

function changed(kind: BotKind, change: object) {
  return (world: ReturnType<typeof setup>) => {
    world.sandbox.bots.change(kind, change);
    return world.send(kind);
  };
}

function wrongKey(kind: BotKind) {
  return (world: ReturnType<typeof setup>) => {
    const sent = world.send(kind);
    world.sandbox.bots.change(kind, { key: "another" });
    return sent;
  };
}

test.each(WRONG)("%s's refusal %i with HTTP 200 is a refusal, final, with what to do", async (...row) => {
  await using world = setup();
  const [kind, errcode, send, hint] = row;
  const outcome = refused(await send(world));
  expect(outcome).toMatchObject({ errcode, isFinal: true });
  expect(outcome.answer).toStartWith(`errcode ${errcode}: `);
  expect(outcome.hint).toMatch(/\p{Script=Han}.* \(.+\)$/u);
  expect(outcome.hint).toContain(hint);
  expect(world.sandbox.bots.messages(kind)).toEqual([]);
});

test("the keyword that we tell people to set is in every message", async () => {
  await using world = setup();
  for (const kind of ["dingtalk", "feishu"] as const) {
    world.sandbox.bots.change(kind, { keywords: ["告警"] });
    for (const message of ["firing", "resolved", "reminder", "digest", "test"] as const)
      expect(await world.send(kind, { ...MESSAGE, kind: message })).toMatchObject({ ok: true });
  }
});

test("a bot that is sent too much says for how long it is silent", async () => {
  await using world = setup();
  for (const [kind, waitMs] of [
    ["wecom", MINUTE_MS],
    ["dingtalk", 10 * MINUTE_MS],
  ] as const) {
    for (let n = 0; n < 20; n++) expect(await world.send(kind)).toMatchObject({ ok: true });
    expect(await world.send(kind)).toMatchObject({ ok: false, isFinal: false, retryAfterMs: waitMs });
    world.clock.advance(waitMs);
    expect(await world.send(kind)).toMatchObject({ ok: true });
  }
  for (let n = 0; n < 5; n++) await world.send("feishu");
  expect(await world.send("feishu")).toMatchObject({ ok: false, errcode: 11_232, isFinal: false });
});

test("as many and as long alarms as there can be are taken by every bot", async () => {
  await using world = setup();
  const long = { message: "很长的说明".repeat(500), hint: "长".repeat(3000), errcode: 40_164 };
  const [alarm] = MESSAGE.alarms;
  if (!alarm) throw new Error("no alarm");
  const alarms = Array.from({ length: 15 }, () => ({ ...alarm, subject: "应用".repeat(200), detail: long }));
  for (const kind of BOTS) {
    expect(await world.send(kind, { ...MESSAGE, alarms, omitted: 400 })).toMatchObject({ ok: true });
    expect(await world.send(kind, { ...MESSAGE, alarms: alarms.slice(0, 1) }, ["@all"])).toMatchObject({
      ok: true,
    });
  }
  expect(world.sandbox.bots.messages("wecom")).toHaveLength(3);
});

const FAULTS: [string, FaultEffect, Partial<SendOutcome>][] = [
  [
    "a redirect",
    { kind: "redirect", location: "http://127.0.0.1:1/" },
    { answer: "HTTP 302", isFinal: true },
  ],
  ["a huge answer", { kind: "oversized" }, { answer: "answer_too_large", isFinal: false }],
  ["an inflated answer", { kind: "gzip_bomb", bytes: 1_000_000 }, { isFinal: false }],
  ["an error page", { kind: "http", status: 502 }, { answer: "HTTP 502", isFinal: false }],
  ["nothing", { kind: "empty_body" }, { answer: "HTTP 200", isFinal: false }],
  ["half an answer", { kind: "truncated_json" }, { answer: "HTTP 200", isFinal: false }],
  ["a reset connection", { kind: "reset_before" }, { answer: "broken_off", isFinal: false }],
  [
    "an answer without errcode",
    { kind: "raw", body: "{}", contentType: "application/json" },
    { isFinal: false },
  ],
  ["an errcode that we don't know", { kind: "error", errcode: 77 }, { errcode: 77, isFinal: false }],
];

test.each(FAULTS)("%s is no success at any bot", async (_name, fault, expected) => {
  await using world = setup();
  for (const kind of BOTS) {
    world.sandbox.inject({ ...fault, times: 1 });
    expect(await world.send(kind)).toMatchObject({ ok: false, ...expected });
  }
});

const ODD_ANSWERS = [
  ...["null", "[]", "0", '"ok"', "true", "{", "<html>", "\u0000", '{"errcode":"0"}', '{"errcode":null}'],
  ...['{"errcode":{}}', '{"errcode":[0]}', '{"errcode":false}', '{"code":"","msg":"ok"}', '{"errmsg":"ok"}'],
  ...['{"errcode":1,"errmsg":{"toString":1}}', '{"errcode":1e999}', '{"errcode":-0.5,"errmsg":[1]}'],
];

test("an answer that is none of a bot's is no success, and throws nothing", async () => {
  let answer = "";
  await using odd = await answering(({ socket }) => void socket.write(httpAnswer(answer)));
  for (const kind of BOTS) {
    const path = {
      wecom: "/cgi-bin/webhook/send",
      dingtalk: "/robot/send",
      feishu: "/open-apis/bot/v2/hook/x",
    }[kind];
    for (answer of ODD_ANSWERS) {
      const outcome = await senderWith().send(
        { kind, url: new Secret(odd.url + path), mention: [] },
        MESSAGE,
      );
      expect([kind, answer, outcome.ok, typeof outcome.answer]).toEqual([kind, answer, false, "string"]);
    }
  }
});

test("a channel that does not answer is given up in time", async () => {
  await using silent = await answering(() => {});
  const url = new Secret(`${silent.url}/robot/send?access_token=0123456789`);
  const outcome = await senderWith({ sendMs: 200 }).send({ kind: "dingtalk", url, mention: [] }, MESSAGE);
  expect(outcome).toMatchObject({ ok: false, answer: "timeout", isFinal: false });
});

test("nobody who listens is told as such", async () => {
  const url = new Secret("http://127.0.0.1:1/robot/send?access_token=0123456789");
  const outcome = await senderWith().send({ kind: "dingtalk", url, mention: [] }, MESSAGE);
  expect(outcome).toMatchObject({ ok: false, answer: "unreachable", isFinal: false });
});

test("P6: what a channel repeats of its key and its secret is not passed on", async () => {
  const [key, secret] = ["canary-key-0123456789", "canary-secret-0123456789"];
  await using echo = await answering(({ socket, text }) => {
    socket.write(httpAnswer(JSON.stringify({ errcode: 1, code: 1, errmsg: `no ${text} ${secret}` })));
  });
  for (const [kind, path] of [
    ["wecom", `/cgi-bin/webhook/send?key=${key}`],
    ["dingtalk", `/robot/send?access_token=${key}`],
    ["feishu", `/open-apis/bot/v2/hook/${key}`],
  ] as const) {
    const address = { kind, url: new Secret(echo.url + path), secret: new Secret(secret), mention: [] };
    const outcome = refused(await senderWith().send(address, MESSAGE));
    expect(outcome.answer).toContain("***");
    expect(outcome.answer.length).toBeLessThanOrEqual(500);
    expect(outcome.answer).not.toMatch(/canary|\n/);
    expect(inspect(address)).not.toContain("canary");
  }
});

test("the bots of the three are asked at their own hosts alone", async () => {
  const sender = senderWith({ lookup: async () => ["93.184.216.34"] });
  for (const url of [
    "https://evil.example.com/cgi-bin/webhook/send?key=0123456789",
    "http://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=0123456789",
    "https://qyapi.weixin.qq.com:8443/cgi-bin/webhook/send?key=0123456789",
    "https://qyapi.weixin.qq.com/cgi-bin/gettoken?key=0123456789",
    "https://qyapi.weixin.qq.com.evil.example.com/cgi-bin/webhook/send?key=0123456789",
    "https://user:pass@qyapi.weixin.qq.com/cgi-bin/webhook/send?key=0123456789",
    "http://127.0.0.1:1/v1/apps",
    "http://10.0.0.1/cgi-bin/webhook/send?key=0123456789",
    "no URL",
  ])
    expect([
      url,
      await sender.send({ kind: "wecom", url: new Secret(url), mention: [] }, MESSAGE),
    ]).toMatchObject([url, { ok: false, answer: "bad_url", isFinal: true }]);
});

test("a webhook gets JSON that its secret signs", async () => {
  await using hook = await answering(({ socket }) => void socket.write(httpAnswer("thanks")));
  const address = { kind: "webhook", url: new Secret(`${hook.url}/in?a=1`), mention: [] } as const;
  const clock = new ManualClock();
  const sender = senderWith({ clock, networks: new Networks("127.0.0.0/8") });
  const outcome = await sender.send({ ...address, secret: new Secret("hook-secret") }, MESSAGE);
  expect(outcome).toEqual({ ok: true, answer: "HTTP 200" });

  const [head = "", body = ""] = (hook.server.requests[0]?.text ?? "").split("\r\n\r\n");
  expect(head).toStartWith("POST /in?a=1 HTTP/1.1\r\n");
  const [, seconds, hex] = /x-accesstoken-signature: t=(\d+),v1=([0-9a-f]{64})/i.exec(head) ?? [];
  expect(Number(seconds)).toBe(Math.floor(clock.now() / 1000));
  const bytes = Buffer.from(body, "latin1");
  const expected = createHmac("sha256", "hook-secret").update(`${seconds}.`).update(bytes).digest("hex");
  expect(hex).toBe(expected);
  expect(JSON.parse(bytes.toString())).toMatchObject({
    ...{ kind: "firing", node: "node-1", omitted: 0 },
    alarms: [{ condition: "app_blocked", subject: "shop", severity: "critical", errcode: 40_164 }],
  });

  await sender.send(address, MESSAGE);
  expect(hook.server.requests[1]?.text.toLowerCase()).not.toContain("signature");
});

test("the page's example of a webhook has the fields that are sent, and no others", async () => {
  await using hook = await answering(({ socket }) => void socket.write(httpAnswer("")));
  const alarms = MESSAGE.alarms.map((each) => ({
    ...each,
    detail: { ...each.detail, hint: "x", expiresAt: 1 },
  }));
  const message = { ...MESSAGE, alarms, consoleUrl: "https://token.example.com/console" };
  const address = { kind: "webhook", url: new Secret(hook.url), mention: [] } as const;
  await senderWith({ networks: new Networks("127.0.0.0/8") }).send(address, message);
  const page = readFileSync(join(import.meta.dir, "../../docs/notifications.md"), "utf8");
  const fields = (json = "") => {
    const { alarms: [first = {}] = [], ...others } = JSON.parse(json) as { alarms?: object[] };
    return [Object.keys(others).toSorted(), Object.keys(first).toSorted()];
  };
  const sent = Buffer.from(hook.server.requests[0]?.text.split("\r\n\r\n")[1] ?? "", "latin1").toString();
  expect(fields(/```json\n(.*?)```/s.exec(page)?.[1])).toEqual(fields(sent));
});

test("a webhook's status says whether to send again, and when", async () => {
  let answer: Uint8Array = httpAnswer("");
  await using hook = await answering(({ socket }) => void socket.write(answer));
  const sender = senderWith({ networks: new Networks("127.0.0.0/8") });
  const send = () => sender.send({ kind: "webhook", url: new Secret(hook.url), mention: [] }, MESSAGE);
  for (const [status, isFinal] of [
    ...[
      [301, true],
      [400, true],
      [401, true],
      [404, true],
      [410, true],
    ],
    ...[
      [408, false],
      [429, false],
      [500, false],
      [503, false],
    ],
  ] as const) {
    answer = httpAnswer("", { Location: "https://example.com/" }, status);
    expect(await send()).toMatchObject({ ok: false, answer: `HTTP ${status}`, isFinal });
  }
  answer = httpAnswer("", { "Retry-After": "120" }, 429);
  expect(await send()).toMatchObject({ ok: false, retryAfterMs: 120_000 });
});

test("P6: a webhook is asked at public addresses over https, and at inner ones that are listed", async () => {
  const outcomeAt = (url: string, address: string, networks = "") =>
    senderWith({ networks: new Networks(networks), lookup: async () => [address], sendMs: 2000 }).send(
      { kind: "webhook", url: new Secret(url), mention: [] },
      MESSAGE,
    );
  for (const inner of ["127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.169.254", "::1"])
    expect(await outcomeAt("https://hook.example.com/", inner)).toMatchObject({
      ...{ ok: false, answer: "address_not_allowed", isFinal: true },
      hint: expect.stringContaining("CALLBACK_NETWORKS"),
    });
  expect(await outcomeAt("http://127.0.0.1:1/", "")).toMatchObject({ answer: "address_not_allowed" });
  expect(await outcomeAt("http://hook.example.com/", "93.184.216.34")).toMatchObject({ answer: "bad_url" });
  expect(await outcomeAt("http://10.1.2.3/", "", "10.0.0.0/8")).toMatchObject({ answer: "bad_url" });
  expect(await outcomeAt("https://127.0.0.1:1/", "", "127.0.0.0/8")).toMatchObject({ answer: "unreachable" });
});

test("the address that was checked is the one that is connected to, for the webhook's own name", async () => {
  let lookups = 0;
  await using hook = await answering(({ socket }) => socket.destroy());
  const { port } = new URL(hook.url);
  const lookup = async () => {
    lookups += 1;
    return ["127.0.0.1"];
  };
  const sender = senderWith({ networks: new Networks("127.0.0.0/8"), lookup });
  await sender.send(
    { kind: "webhook", url: new Secret(`https://hook.example.com:${port}/`), mention: [] },
    MESSAGE,
  );
  expect(lookups).toBe(1);
  // The greeting of TLS names whose certificate is asked for.
  expect(hook.server.requests[0]?.text).toContain("hook.example.com");
});

test("the proxy of UPSTREAM_PROXY is used for what is outside, and a webhook's address is checked all the same", async () => {
  await using proxy = await answering(({ socket }) => {
    socket.end("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
  });
  const asked = async (address: ChannelAddress, lookup: string) => {
    const before = proxy.server.requests.length;
    const sender = senderWith({
      ...{ proxyUrl: proxy.url, lookup: async () => [lookup], networks: new Networks("127.0.0.1/32") },
    });
    expect(await sender.send(address, MESSAGE)).toMatchObject({ ok: false, isFinal: false });
    return proxy.server.requests.slice(before).map(({ text }) => text.split("\r\n")[0]);
  };
  const wecom = new Secret("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=0123456789");
  expect(await asked({ kind: "wecom", url: wecom, mention: [] }, "")).toEqual([
    "CONNECT qyapi.weixin.qq.com:443 HTTP/1.1",
  ]);
  const hook = { kind: "webhook", url: new Secret("https://hook.example.com:1/"), mention: [] } as const;
  expect(await asked(hook, "93.184.216.34")).toEqual(["CONNECT 93.184.216.34:1 HTTP/1.1"]);
  expect(await asked(hook, "127.0.0.1")).toEqual([]);
});

test("P6: through the proxy too, the certificate that is expected is that of the webhook's name", async () => {
  const tls = [selfSigned("hook.test"), selfSigned("other.test")];
  const servers = tls.map((each) =>
    Bun.serve({ hostname: "127.0.0.1", port: 0, tls: each, fetch: () => new Response("ok") }),
  );
  const asked: string[] = [];
  // It connects to this machine, whatever address it is asked for.
  const proxy = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (chunk) => {
      const [, target = ""] = /^CONNECT (\S+) /.exec(chunk.toString("latin1")) ?? [];
      asked.push(target);
      const there = connect(Number(target.split(":")[1]), "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        socket.pipe(there).pipe(socket);
      });
      there.on("error", () => socket.destroy());
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-test-"));
  using cleanup = new DisposableStack();
  cleanup.defer(() => {
    rmSync(folder, { recursive: true });
    proxy.close();
    for (const server of servers) void server.stop(true);
  });
  const ca = join(folder, "ca.pem");
  writeFileSync(ca, tls.map(({ cert }) => cert).join("\n"));
  const ports = servers.map(({ port }) => port);
  const program = `
    const { HttpChannelSender } = await import(${JSON.stringify(join(import.meta.dir, "../../src/upstream/channel-sender.ts"))});
    const { Networks } = await import(${JSON.stringify(join(import.meta.dir, "../../src/access/networks.ts"))});
    const { Secret } = await import(${JSON.stringify(join(import.meta.dir, "../../src/secret.ts"))});
    const sender = new HttpChannelSender({
      clock: { now: () => 0 }, proxyUrl: "http://127.0.0.1:${(proxy.address() as AddressInfo).port}",
      networks: new Networks(""), lookup: async () => ["93.184.216.34"], sendMs: 60000,
    });
    for (const port of ${JSON.stringify(ports)}) {
      const url = new Secret("https://hook.test:" + port + "/");
      console.log((await sender.send({ kind: "webhook", url, mention: [] }, ${JSON.stringify(MESSAGE)})).answer);
    }`;
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: ca };
  const child = Bun.spawn([process.execPath, "-e", program], { env, stdout: "pipe" });
  expect((await child.stdout.text()).trim().split("\n")).toEqual(["HTTP 200", "bad_certificate"]);
  expect(asked).toEqual(ports.map((port) => `93.184.216.34:${port}`));
});
