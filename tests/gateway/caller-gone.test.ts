import { expect, test } from "bun:test";
import { Caller } from "../../src/access/principal.ts";
import { readWechatRequest } from "../../src/api/wechat-request.ts";
import { EventBus } from "../../src/events.ts";
import { Gateway } from "../../src/gateway/gateway.ts";
import { Secret } from "../../src/secret.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { weixinSlot } from "../support/slots.ts";

test("the place of a caller who goes just when the answer is there is free, though nobody reads that answer", async () => {
  const controller = new AbortController();
  const seen = { left: 0 };
  const slot = weixinSlot();
  const gateway = new Gateway({
    access: { slotOfToken: () => slot, checkPath: () => undefined },
    directory: { findSlot: () => undefined },
    credentials: {
      get: () => Promise.reject(new Error("not asked for")),
      replace: () => Promise.reject(new Error("not asked for")),
    },
    forwarder: {
      forward: () =>
        Promise.resolve({
          status: 200,
          headers: new Headers({ "content-type": "image/jpeg" }),
          body: new ReadableStream<Uint8Array>({}, { highWaterMark: 0 }),
        }),
    },
    concurrency: { enter: async () => () => void (seen.left += 1) },
    clock: new ManualClock(),
    events: new EventBus(),
  });
  const origin = { address: "127.0.0.1", untrustedReason: undefined, isSuspicious: false };
  const caller = new Caller("t", () => origin);
  const request = new Request("http://localhost/cgi-bin/media/get?access_token=x", {
    signal: controller.signal,
  });
  const { platform, appId, name } = slot;
  const holding = { name: { platform, appId, name }, slot: undefined, token: new Secret("x") };
  await gateway.call(readWechatRequest(request, caller), holding);
  expect(seen.left).toBe(0);
  controller.abort();
  expect(seen.left).toBe(1);
});
