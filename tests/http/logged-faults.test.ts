import { expect, test } from "bun:test";
import { failed, type Face } from "../../src/api/face.ts";
import { Cors } from "../../src/api/cors.ts";
import { OriginPolicy } from "../../src/access/origin.ts";
import { Networks } from "../../src/access/networks.ts";
import { ServiceError } from "../../src/errors.ts";
import { EventBus, type ServiceEvent } from "../../src/events.ts";
import { Door } from "../../src/http/door.ts";
import { ManualClock } from "../support/manual-clock.ts";

/** What is logged as a failure when a face answers with `error`. */
function loggedFor(error: unknown): ServiceEvent[] {
  const events = new EventBus();
  const logged: ServiceEvent[] = [];
  events.subscribe((event) => void (event.type === "request.failed" && logged.push(event)));
  const face: Face = {
    isPublic: false,
    matches: () => true,
    mayIdentify: () => true,
    handle: () => {
      throw error;
    },
    encodeError: (thrown, call) => {
      call.outcome = failed(500, thrown);
      return new Response(null, { status: 500 });
    },
  };
  const door = new Door({
    faces: [face],
    access: { isUntrusted: () => false } as never,
    origins: new OriginPolicy({
      trustedNetworks: new Networks("127.0.0.1"),
      trustedProxies: new Networks(""),
      allowedHosts: [],
    }),
    cors: new Cors(() => []),
    publicSide: { isWalled: () => false },
    audit: { countUsage: () => undefined, countAnonymous: () => undefined, countDenial: () => undefined },
    events,
    clock: new ManualClock(),
  });
  const socket = { peer: () => "127.0.0.1", giveTime: () => undefined };
  const headers = { host: "localhost:3000" };
  void door.serve(new Request("http://localhost:3000/x", { headers }), socket);
  return logged;
}

test("a fault is logged under its own name, also inside of an error of ours", () => {
  for (const error of [
    new TypeError("secret"),
    new ServiceError("internal", "m", { cause: new TypeError("secret") }),
  ]) {
    expect(loggedFor(error)).toMatchObject([{ error: "TypeError" }]);
    expect(JSON.stringify(loggedFor(error))).not.toContain("secret");
  }
  expect(loggedFor(new ServiceError("internal", "m"))).toMatchObject([{ error: "ServiceError" }]);
});

test("what refuses a request is no fault", () => {
  expect(loggedFor(new ServiceError("invalid_parameter", "m", { cause: new TypeError("x") }))).toEqual([]);
});
