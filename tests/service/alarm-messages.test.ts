import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { BOT_KINDS, defaultBots } from "../../src/sandbox/bots.ts";
import { Harness, type WorldOptions } from "../support/harness.ts";

const NO_BODY = { method: "POST", headers: { "content-type": "application/json" }, body: "{}" };

/** A service that tells the three bots of the sandbox, under their own names. */
async function setup(environment: NonNullable<WorldOptions["environment"]> = {}) {
  const world = await Harness.create({ environment });
  const { bots, wecomUrl } = world.sandbox;
  for (const kind of BOT_KINDS) {
    const { secret } = defaultBots[kind];
    const channel = { channel: kind, kind, url: bots.urlOf(kind, wecomUrl), mention: ["@all"], secret };
    const { status } = await world.administer("/v1/notifications/channels", {
      ...NO_BODY,
      body: JSON.stringify(channel),
    });
    expect([kind, status]).toEqual([kind, 201]);
  }
  return {
    world,
    tried: (kind: string) => world.administer(`/v1/notifications/channels/${kind}/test`, { method: "POST" }),
    /** What a bot was sent, as text. */
    sentTo: (kind: (typeof BOT_KINDS)[number]) => JSON.stringify(bots.messages(kind)),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

test("a test by the API arrives at each bot, signed, and its answer is the bot's own", async () => {
  await using it = await setup();
  for (const kind of BOT_KINDS) {
    expect((await it.tried(kind)).data).toMatchObject({
      ok: true,
      answer: expect.stringContaining("errcode 0"),
    });
    expect(it.sentTo(kind)).toContain("告警测试 (test)");
    expect(it.sentTo(kind)).toContain('"mentioned":["all"]');
  }
});

test("P6: neither answers, nor events, nor the database have the key of a bot or its secret", async () => {
  await using it = await setup();
  for (const kind of BOT_KINDS) {
    it.world.sandbox.inject({
      ...{ kind: "error", errcode: 1, errmsg: `no ${defaultBots[kind].key}`, times: 1 },
    });
    const { text, data } = await it.tried(kind);
    expect([kind, data["ok"]]).toEqual([kind, false]);
    const listed = await it.world.administer("/v1/notifications/channels");
    const files = ["", "-wal"].map((end) => it.world.databasePath + end).filter((file) => existsSync(file));
    const stored = files.map((file) => readFileSync(file, "latin1")).join("");
    expect(stored.includes("no ***")).toBe(true);
    const shown = text + listed.text + JSON.stringify(it.world.events) + stored;
    for (const { key, secret = key } of Object.values(defaultBots))
      expect([key, shown.includes(key), shown.includes(secret)]).toEqual([key, false, false]);
  }
});

test("messages link to the console where it is served, which is not under PUBLIC_URL", async () => {
  const linkWith = async (environment: Record<string, string>) => {
    await using it = await setup({ PUBLIC_URL: "https://wx.example.com", ...environment });
    await it.tried("wecom");
    return /https:[^)#]*#/.exec(it.sentTo("wecom"))?.[0];
  };
  const hosts = "wx.example.com, tokens.example.com";
  expect(await linkWith({})).toBeUndefined();
  expect(await linkWith({ ALLOWED_HOSTS: hosts })).toBe("https://tokens.example.com/console/#");
  expect(await linkWith({ PUBLIC_URL_SERVES: "all" })).toBe("https://wx.example.com/console/#");
  expect(await linkWith({ ALLOWED_HOSTS: hosts, CONSOLE: "off" })).toBeUndefined();
});
