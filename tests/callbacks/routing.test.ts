import { expect, test } from "bun:test";
import type { Route, Rule, Target } from "../../src/callbacks/callback-settings.ts";
import type { PushMessage } from "../../src/callbacks/push-message.ts";
import { matchesRule, routesFor } from "../../src/callbacks/routing.ts";

const TARGETS = ["prod", "st", "dev", "crm"].map((name): Target => ({
  app: "wx1",
  name,
  environment: name,
  content: "decrypted",
  version: 1,
}));

function message(facts: Partial<PushMessage> = {}): PushMessage {
  const none = { toUserName: undefined, createTime: undefined, msgId: undefined, agentId: undefined };
  const unnamed = { event: undefined, eventKey: undefined, content: undefined };
  const ordinary = { infoType: undefined, platformApp: undefined };
  return { ...none, ...unnamed, ...ordinary, msgType: "text", fromUserName: "someone", ...facts };
}

const SCAN = message({ msgType: "event", event: "SCAN", eventKey: "qr_42" });

function names(routes: readonly Route[], of = message()) {
  const { primaries, copies } = routesFor({ targets: TARGETS, routes }, of);
  return [primaries.map(({ name }) => name), copies.map(({ name }) => name)];
}

const primary = (target: string, rule: Rule = {}): Route => ({ target, role: "primary", rule });
const copy = (target: string, rule: Rule = {}): Route => ({ target, role: "copy", rule });

test("a rule without lists fits every message, also one of which nothing is known", () => {
  const unknown = message({ msgType: undefined, fromUserName: undefined });
  expect([matchesRule({}, unknown), matchesRule({ types: [], openids: [] }, unknown)]).toEqual([true, true]);
  expect(matchesRule({ openids: ["undefined"] }, unknown)).toBeFalse();
});

test.each<[Rule, PushMessage, boolean]>([
  [{ types: ["event"] }, SCAN, true],
  [{ types: ["EVENT"] }, SCAN, true],
  [{ types: ["text", "image"] }, SCAN, false],
  [{ types: ["unsubscribe"] }, message({ msgType: undefined, infoType: "unsubscribe" }), true],
  [{ events: ["scan"] }, SCAN, true],
  [{ events: ["subscribe"] }, SCAN, false],
  [{ events: ["scan"] }, message(), false],
  [{ eventKeys: ["qr_42"] }, SCAN, true],
  [{ eventKeys: ["QR_42"] }, SCAN, false],
  [{ eventKeys: ["qr_4"] }, SCAN, false],
  [{ eventKeys: ["other", "qr_*"] }, SCAN, true],
  [{ eventKeys: ["*"] }, SCAN, true],
  [{ eventKeys: ["*"] }, message(), false],
  [{ openids: ["someone", "else"] }, SCAN, true],
  [{ openids: ["Someone"] }, SCAN, false],
  [{ types: ["event"], events: ["SCAN"], eventKeys: ["qr_*"], openids: ["someone"] }, SCAN, true],
  [{ types: ["event"], events: ["SCAN"], eventKeys: ["qr_*"], openids: ["else"] }, SCAN, false],
])("rule %j of message %j: %p", (rule, of, expected) => {
  expect(matchesRule(rule, of)).toBe(expected);
});

test("a tester's messages are dev's, everybody else's prod's, and the first route is asked first", () => {
  const routes = [primary("dev", { openids: ["tester"] }), primary("prod")];
  expect(names(routes)).toEqual([["prod"], []]);
  expect(names(routes, message({ fromUserName: "tester" }))).toEqual([["dev", "prod"], []]);
  expect(names(routes.toReversed(), message({ fromUserName: "tester" }))).toEqual([["prod", "dev"], []]);
});

test("a target is named once as a primary and once as a copy, however many routes lead to it", () => {
  const routes = [copy("crm"), primary("prod"), copy("crm", { types: ["text"] }), copy("prod"), copy("st")];
  expect(names([...routes, primary("prod", { types: ["text"] })])).toEqual([["prod"], ["crm", "prod", "st"]]);
});

test("without a matching route a message goes nowhere, and a route to a target that is gone is passed over", () => {
  expect(names([])).toEqual([[], []]);
  expect(names([primary("dev", { types: ["event"] })])).toEqual([[], []]);
  expect(names([primary("gone"), primary("prod"), copy("gone")])).toEqual([["prod"], []]);
});
