import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generatePushKey, PushRefused } from "../../src/callbacks/push-crypto.ts";
import { type PushMessage, readPushMessage } from "../../src/callbacks/push-message.ts";
import { encryptReply } from "../../src/callbacks/push-reply.ts";
import { type PushMode, verifyPush } from "../../src/callbacks/verify-push.ts";
import { systemClock } from "../../src/clock.ts";
import { runAlone } from "./cli-harness.ts";

const APP = "wxa000000000000001";
const CORP = "ww0000000000000001";
const REPLY =
  "<xml><ToUserName>o</ToUserName><FromUserName>g</FromUserName><CreateTime>1</CreateTime><MsgType>text</MsgType></xml>";

/** A callback URL that answers with a reply, and the command that pushes to it. */
function setup(platform: "weixin" | "wecom" = "weixin", mode: PushMode = "secure") {
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-push-"));
  const key = generatePushKey();
  const receiveId = platform === "wecom" ? CORP : APP;
  const received: PushMessage[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => {
      const query = new URL(request.url).search.slice(1);
      const method = request.method === "GET" ? "GET" : "POST";
      const body = await request.bytes();
      try {
        const settings = { platform, mode, keys: [key], receiveIds: [receiveId] };
        const verified = verifyPush(settings, { method, query, body }, systemClock.now());
        if (verified.kind === "check") return new Response(verified.echo);
        received.push(readPushMessage(verified));
        const now = systemClock.now();
        return new Response(verified.isEncrypted ? encryptReply(verified, REPLY, now).body : REPLY);
      } catch (error) {
        if (!(error instanceof PushRefused)) throw error;
        return new Response(null, { status: 403 });
      }
    },
  });
  const file = (name: string, content: string) => {
    const path = join(folder, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  const secrets = [
    ...["--token-file", file("token", `${key.token.reveal()}\n`)],
    ...["--aes-key-file", file("key", `${key.encodingAesKey.reveal()}\n`)],
  ];
  return {
    key,
    received,
    push: (...more: string[]) =>
      runAlone(["sandbox", "push", server.url.href, "--app", receiveId, ...secrets, ...more]),
    [Symbol.dispose]: () => {
      void server.stop(true);
      rmSync(folder, { recursive: true });
    },
  };
}

/** The lines without how long each took. */
const linesOf = (text: string) =>
  text
    .replaceAll(/\d+ ms/g, "… ms")
    .trimEnd()
    .split("\n");

test("sandbox push checks a callback URL, pushes to it and shows the reply", async () => {
  using it = setup();
  const { code, stdout, stderr } = await it.push(
    "--check",
    "--text",
    "你好",
    "--message-id",
    "9007199254740993",
  );
  expect(stderr).toBe("");
  expect(linesOf(stdout)).toEqual(["GET  accepted  HTTP 200  … ms", `1  reply  HTTP 200  … ms  ${REPLY}`]);
  expect(code).toBe(0);
  expect(it.received).toMatchObject([{ msgType: "text", msgId: "9007199254740993" }]);
});

test("sandbox push sends events, in plain JSON too, and as WeCom", async () => {
  using plain = setup("weixin", "plain");
  const event = ["--event", "SCAN", "--event-key", "shop_1"];
  expect((await plain.push(...event, "--mode", "plain", "--format", "json")).stdout).toContain(
    "wrong answer",
  );
  expect(plain.received).toMatchObject([
    { event: "SCAN", eventKey: "shop_1" },
    { event: "SCAN" },
    { event: "SCAN" },
  ]);
  using wecom = setup("wecom");
  expect((await wecom.push("--wecom", "--check", "--agent", "7")).code).toBe(0);
  expect(wecom.received).toMatchObject([{ msgType: "text", agentId: "7" }]);
});

test.each([["--wrong-key"], ["--wrong-app"]])(
  "sandbox push %s is refused three times, which is exit code 3",
  async (option) => {
    using it = setup();
    const { code, stdout } = await it.push(option);
    expect(code).toBe(3);
    expect(linesOf(stdout)).toEqual([1, 2, 3].map((n) => `${n}  wrong answer  HTTP 403  … ms  status 403`));
    expect(it.received).toEqual([]);
  },
);

test("sandbox push --replay sends the same again after it was accepted", async () => {
  using it = setup();
  const { code, stdout } = await it.push("--replay", "--attempts", "2");
  expect(code).toBe(0);
  expect(linesOf(stdout)).toHaveLength(2);
  expect(new Set(it.received.map(({ msgId }) => msgId)).size).toBe(1);
});

test("P6: what sandbox push prints has neither Token nor EncodingAESKey in it, whatever is wrong", async () => {
  using it = setup();
  for (const more of [
    ["--wrong-key"],
    ["--mode", "nope"],
    ["--message-id", "x"],
    ["--wecom", "--mode", "plain"],
  ]) {
    const { stdout, stderr } = await it.push(...more);
    expect(stdout + stderr).not.toContain(it.key.token.reveal());
    expect(stdout + stderr).not.toContain(it.key.encodingAesKey.reveal());
  }
  const bad = await it.push("--event-key", "x");
  expect([bad.code, bad.stderr]).toEqual([2, expect.stringContaining("--event-key needs --event")]);
});
