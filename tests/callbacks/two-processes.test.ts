import { expect, test } from "bun:test";
import { loadConfig } from "../../src/config.ts";
import { startService } from "../../src/service.ts";
import { PATIENT, WX } from "../support/harness.ts";
import { keptText, PushWorld, Receiver, textReply } from "./push-world.ts";

/** A world whose primary answers when it is told to, and another process on the same database. */
async function setup() {
  const answers = Promise.withResolvers<Response>();
  const prod = new Receiver(() => answers.promise);
  const it = await PushWorld.create({ targets: [{ name: "prod", url: prod.url }] });
  const config = loadConfig({
    ...{ ENV_FILE: "", PORT: "0", DATABASE_URL: `file:${it.world.databasePath}`, ANONYMOUS: "off" },
    ...{ CALLBACK_NETWORKS: "127.0.0.0/8", [`WEIXIN_SECRET_${WX.appId}`]: WX.secret },
  });
  const second = await startService(config, { clock: it.world.clock, ...PATIENT });
  const sendToSecond = async ({ query, body }: ReturnType<typeof it.text>) =>
    (await fetch(`${second.url}/callback/${WX.appId}?${query}`, { method: "POST", body })).text();
  const dispose = async () => {
    answers.resolve(new Response("success"));
    await second.stop("test");
    await it[Symbol.asyncDispose]();
    await prod[Symbol.asyncDispose]();
  };
  return { it, prod, answers, sendToSecond, [Symbol.asyncDispose]: dispose };
}

test("P9: a push that WeChat sends again to another process joins the first: one delivery, one answer", async () => {
  await using t = await setup();
  const push = t.it.text();
  const first = t.it.send(push);
  await t.it.until(() => t.prod.arrived.length === 1, 0);
  const again = t.sendToSecond(push);
  t.answers.resolve(textReply("the one answer"));
  const { text } = await first;
  expect(text).toContain("Encrypt");
  expect(await again).toBe(text);
  expect(t.prod.arrived).toHaveLength(1);
});

test("P9: where the process that asked the primary is gone, the one that the push comes to again asks it", async () => {
  await using t = await setup();
  t.answers.resolve(textReply("from the second"));
  const now = t.it.world.clock.now();
  const push = t.it.text({ msgId: "24000000000000099" });
  const { deliveries } = await t.it.store();
  const name = { app: WX.appId, dedupeKey: "24000000000000099" };
  await deliveries.accept(
    { ...name, type: "text", event: "", receivedAt: now, request: keptText(now), answer: undefined },
    [{ target: "prod", environment: "prod", role: "primary", sender: "o1", leasedUntil: now + 1000 }],
    "a process that is gone",
  );
  const sent = t.sendToSecond(push);
  t.it.world.clock.advance(1000);
  expect(await sent).toContain("Encrypt");
  expect(t.prod.keys).toEqual(["24000000000000099"]);
});
