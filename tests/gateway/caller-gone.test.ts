import { expect, test } from "bun:test";
import { Concurrency } from "../../src/access/limits.ts";
import { RawQuery } from "../../src/api/wechat-request.ts";
import { EventBus } from "../../src/events.ts";
import { Gateway } from "../../src/gateway/gateway.ts";
import { Secret } from "../../src/secret.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { caller as callerAs, clientPrincipal } from "../support/callers.ts";
import { failureOf } from "../support/refusals.ts";
import { weixinSlot } from "../support/slots.ts";

test("the place of a caller who goes just when the answer is there is free, though nobody reads that answer", async () => {
  const controller = new AbortController();
  const slot = weixinSlot();
  const principal = clientPrincipal("one", { concurrency: 1, delivery: "real" });
  const usage = { identity: principal.identity, action: "api:call", app: slot.appId };
  const permit = { slot, principal, usage };
  const gateway = new Gateway({
    access: { slotOfToken: () => permit },
    directory: { findSlot: () => undefined },
    resolver: { confirm: async (unchanged) => unchanged },
    credentials: {
      get: () => Promise.reject(new Error("not asked for")),
      replace: () => Promise.reject(new Error("not asked for")),
    },
    forwarder: {
      forward: () =>
        Promise.resolve({
          status: 200,
          headers: new Headers({ "content-type": "image/jpeg" }),
          body: new ReadableStream<Uint8Array>({ start: (body) => body.enqueue(new Uint8Array([0xff])) }),
        }),
    },
    concurrency: new Concurrency(() => 1),
    clock: new ManualClock(),
    events: new EventBus(),
    calls: { count: () => undefined },
    platformCalls: { bodyUp: async (_context, _call, body) => body, answerDown: async (_, __, sent) => sent },
  });
  const { platform, appId, name } = slot;
  const context = {
    name: { platform, appId, name },
    slot: undefined,
    token: new Secret("x"),
    principal,
  };
  const sent = { method: "GET", path: "/cgi-bin/media/get", headers: new Headers(), body: null, length: 0 };
  const query = RawQuery.parse("access_token=x");
  const call = ({ signal }: AbortController) =>
    gateway.call({ caller: callerAs(principal), ...sent, query, signal }, context);
  await call(controller);
  expect((await failureOf(call(new AbortController()))).code).toBe("rate_limited");
  controller.abort();
  expect((await call(new AbortController())).response.status).toBe(200);
});
