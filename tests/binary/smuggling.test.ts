import { expect, test } from "bun:test";
import { SMUGGLING, TAIL } from "../http/smuggling-cases.ts";
import { ask, binary, ProcessHarness } from "../support/process-harness.ts";
import { rawExchange } from "../support/raw-http.ts";
import { WX } from "../support/harness.ts";

test("the compiled program runs no hidden request either, and answers a good one after each attack", async () => {
  await using world = new ProcessHarness(binary());
  const { url } = await world.serve();
  for (const { name, sent, statuses } of SMUGGLING) {
    const answers = await rawExchange(url, sent, TAIL);
    expect([name, ...answers.map(({ status }) => status)]).toEqual([name, ...statuses]);
    expect([name, (await ask(url, "/")).code]).toEqual([name, 0]);
    expect([name, world.sandbox.calls()]).toEqual([name, 0]);
  }
  expect((await ask(url, "/AccessToken/getXcx", { appid: WX.appId })).code).toBe(0);
  expect(world.sandbox.calls()).toBe(1);
});
