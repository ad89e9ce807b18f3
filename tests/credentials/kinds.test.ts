import { expect, test } from "bun:test";
import type { Slot, SlotName } from "../../src/apps/app.ts";
import type { CredentialRef } from "../../src/credentials/credential.ts";
import {
  CREDENTIAL_KINDS,
  type CredentialKind,
  type Kind,
  Kinds,
  KINDS,
  KINDS_OF,
  kindsOf,
  renewalAt,
  renewBeforeMs,
} from "../../src/credentials/kinds.ts";
import { ServiceError } from "../../src/errors.ts";
import { Secret } from "../../src/secret.ts";
import { wecomSlot, weixinSlot } from "../support/slots.ts";
import { CredentialsHarness } from "./credentials-harness.ts";

const HOUR_MS = 3_600_000;
/** What a kind that WeChat pushes needs: this row. */
const PUSHED: Kind = {
  platform: "weixin",
  name: "component_verify_ticket",
  obtainedBy: "pushed",
  predecessorMs: 0,
  blames: "credential",
};
const TICKET: CredentialRef = { slot: weixinSlot(), kind: PUSHED.name as CredentialKind };

async function setup() {
  const world = await CredentialsHarness.create(undefined, { kinds: new Kinds([PUSHED]) });
  const now = world.clock.now();
  const life = { issuedAt: now, expiresAt: now + 12 * HOUR_MS };
  const accept = (value: string, manager = world.manager, of = life) =>
    manager.accept(TICKET, new Secret(value), of);
  const got = async (manager = world.manager) => (await manager.get(TICKET)).value.reveal();
  return { world, life, accept, got, [Symbol.dispose]: () => world[Symbol.dispose]() };
}

async function refusalOf(work: Promise<unknown>): Promise<ServiceError> {
  const error = await work.catch((reason: unknown) => reason);
  if (error instanceof ServiceError) return error;
  throw new Error("it was not refused");
}

test("a new kind that is pushed is one row: it is accepted, handed out by every process, and nobody is asked", async () => {
  using it = await setup();
  await it.accept("first");
  expect([await it.got(), await it.got(it.world.restarted())]).toEqual(["first", "first"]);
  it.world.clock.advance(600_000);
  const second = {
    value: new Secret("second"),
    issuedAt: it.world.clock.now(),
    expiresAt: it.life.expiresAt,
  };
  await (await it.world.elsewhere()).accept(TICKET, second);
  it.world.clock.advance(50);
  expect(await it.got()).toBe("second");
  expect(it.world.source.asked).toEqual([]);
  expect(it.world.emitted()).toEqual(["credential.accepted"]);
});

test("P2: what was pushed is handed out to its end, and then its absence is said to be one of a push", async () => {
  using it = await setup();
  const before = await refusalOf(it.world.manager.get(TICKET));
  expect(before).toMatchObject({ code: "unavailable" });
  expect(before.message).toContain("微信推送");
  expect(before.message).toContain("WeChat pushes");
  await it.accept("one");
  it.world.clock.advance(12 * HOUR_MS - 1000);
  expect(await it.got()).toBe("one");
  // A longer life can't be asked for.
  expect((await it.world.manager.get(TICKET, { minTtlMs: HOUR_MS })).value.reveal()).toBe("one");
  it.world.clock.advance(1000);
  expect(await refusalOf(it.world.manager.get(TICKET))).toMatchObject({ message: before.message });
  expect(it.world.source.asked).toEqual([]);
});

test("what is pushed can't be refreshed or replaced, and a rejected one is not handed out by a replace", async () => {
  using it = await setup();
  const { manager } = it.world;
  await it.accept("one");
  expect(await refusalOf(manager.refresh(TICKET, { force: false }))).toMatchObject({ code: "unavailable" });
  expect(await refusalOf(manager.replace(TICKET, new Secret("one")))).toMatchObject({ code: "unavailable" });
  expect((await manager.replace(TICKET, new Secret("older"))).value.reveal()).toBe("one");
  expect(it.world.source.asked).toEqual([]);
});

test("P5: an older push that arrives late changes nothing, and its sender gets the value that stands", async () => {
  using it = await setup();
  await it.accept("later");
  const standing = await it.accept("earlier", undefined, { ...it.life, issuedAt: it.life.issuedAt - 1000 });
  expect(standing?.value.reveal()).toBe("later");
  expect(it.world.emitted()).toEqual(["credential.accepted"]);
});

test("a push whose sender's clock is ahead of ours is valid at once", async () => {
  using it = await setup();
  const ahead = { ...it.life, issuedAt: it.life.issuedAt + 30_000 };
  expect((await it.accept("one", undefined, ahead))?.value.reveal()).toBe("one");
  expect([await it.got(), await it.got(it.world.restarted())]).toEqual(["one", "one"]);
});

test("what is not pushed is not accepted", async () => {
  using world = await CredentialsHarness.create();
  const accepted = world.manager.accept({ slot: weixinSlot(), kind: "access_token" }, new Secret("x"), {
    issuedAt: 1,
    expiresAt: 2,
  });
  expect(await refusalOf(accepted)).toMatchObject({ code: "invalid_parameter" });
});

test("each platform has its kinds, and a WeChat token one row for each mode", () => {
  expect(KINDS_OF).toEqual({
    weixin: [
      "access_token",
      "jsapi_ticket",
      "wx_card_ticket",
      "component_access_token",
      "component_verify_ticket",
    ],
    wecom: [
      "access_token",
      "jsapi_ticket",
      "wx_card_ticket",
      "agent_config_ticket",
      "suite_access_token",
      "suite_ticket",
      "provider_access_token",
    ],
  });
  expect(new Set(CREDENTIAL_KINDS)).toEqual(new Set([...KINDS_OF.weixin, ...KINDS_OF.wecom]));
  expect(kindsOf(weixinSlot())).toEqual(["access_token", "jsapi_ticket", "wx_card_ticket"]);
  const component: SlotName = { platform: "weixin", appId: "wxc", name: "@component" };
  expect(kindsOf(component)).toEqual(["component_access_token", "component_verify_ticket"]);
  const authorizer: SlotName = { platform: "weixin", appId: "wxa", name: "wxc" };
  expect(kindsOf(authorizer)).toEqual(kindsOf(weixinSlot()));
  expect(KINDS.get({ slot: authorizer, kind: "access_token" }).parent).toBe("component_access_token");
  expect(() => KINDS.get({ slot: weixinSlot(), kind: "component_access_token" })).toThrow(ServiceError);
  expect(() => KINDS.get({ slot: component, kind: "access_token" })).toThrow(ServiceError);
  const foreign: Slot = { ...weixinSlot("wx1", "classic"), name: "~digest", configured: false };
  for (const slot of [weixinSlot("wx1", "classic"), foreign])
    expect(KINDS.get({ slot, kind: "access_token" }).mode).toBe("classic");
  expect(KINDS.get({ slot: weixinSlot(), kind: "access_token" }).mode).toBe("stable");
  expect(() => KINDS.get({ slot: weixinSlot(), kind: "agent_config_ticket" })).toThrow(ServiceError);
});

test("a renewal that brought the same value is tried again soon, one that brought a new one ahead of its end", () => {
  const lifeMs = 2 * HOUR_MS;
  const now = 1_795_000_000_000;
  const token = KINDS.get({ slot: weixinSlot(), kind: "access_token" });
  const ticket = KINDS.get({ slot: weixinSlot(), kind: "jsapi_ticket" });
  const wecom = KINDS.get({ slot: wecomSlot(), kind: "access_token" });
  const inSeconds = (kind: Kind, leftMs: number, isRepeated: boolean, chance = 0.5) => {
    const at = renewalAt(kind, { lifeMs, expiresAt: now + leftMs }, { now, isRepeated, chance });
    return at === undefined ? undefined : (at - now) / 1000;
  };
  expect(inSeconds(token, lifeMs, false, 0)).toBe(6915);
  expect(inSeconds(token, lifeMs, false, 1)).toBe(7000);
  expect(inSeconds(token, 280_000, true, 0.99)).toBe(15);
  // Repeated long before its end, by somebody's order.
  expect(inSeconds(token, HOUR_MS, true, 0)).toBe(3315);
  expect(inSeconds(ticket, lifeMs, false)).toBe(6600);
  expect(inSeconds(ticket, 500_000, true)).toBe(250);
  expect(inSeconds(wecom, 500_000, true)).toBe(501);
  expect(inSeconds(PUSHED, lifeMs, false)).toBeUndefined();
  expect(renewBeforeMs(token, { lifeMs: lifeMs / 2 }, 0)).toBe(142_500);
  expect(renewBeforeMs(token, { lifeMs, renewBeforeMs: 60_000 }, 0)).toBe(60_000);
});

test("what WeCom repeats until it expires is requested after that, of suites and providers too", () => {
  for (const kind of ["access_token", "suite_access_token", "provider_access_token"] as const) {
    const name = kind === "access_token" ? "1000002" : `@${kind.slice(0, kind.indexOf("_"))}`;
    const row = KINDS.get({ slot: { platform: "wecom", appId: "ww1", name }, kind });
    expect(renewBeforeMs(row, { lifeMs: 2 * HOUR_MS }, 0.5), kind).toBe(-1000);
  }
});

test("a kind that is obtained with another credential names it, and the table refuses one that does not", () => {
  for (const slot of [weixinSlot(), wecomSlot()]) {
    for (const kind of kindsOf(slot)) {
      const { obtainedBy, parent } = KINDS.get({ slot, kind });
      expect([kind, parent]).toEqual([kind, obtainedBy === "secret" ? undefined : "access_token"]);
    }
  }
  const child: Kind = { ...PUSHED, name: "component_access_token", obtainedBy: "parent" };
  const parent = PUSHED.name;
  expect(new Kinds([PUSHED, { ...child, parent }]).get({ slot: weixinSlot(), kind: child.name }).parent).toBe(
    parent,
  );
  for (const wrong of [[child], [{ ...child, parent }], [{ ...PUSHED, parent }]])
    expect(() => new Kinds(wrong)).toThrow("parent");
});
