import { expect, test } from "bun:test";
import { type App, type Slot, slotKey } from "../../src/apps/app.ts";
import { AppDirectory } from "../../src/apps/app-directory.ts";
import { ServiceError } from "../../src/errors.ts";
import { Secret } from "../../src/secret.ts";

const CORP = "ww1";

function setup(...more: App[]) {
  const apps: App[] = [
    { platform: "weixin", id: "wx1", secret: new Secret("s1"), tokenMode: "stable" },
    { platform: "weixin", id: "wx2", secret: new Secret("s2"), tokenMode: "classic" },
    ...more,
  ];
  return new AppDirectory(
    apps,
    (platform, appId, secret) => `${platform}/${appId}/${secret.reveal().length}`,
  );
}

function agent(name: string, secret: string): App {
  return { platform: "wecom", id: CORP, agent: name, secret: new Secret(secret) };
}

function parameterFault(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof ServiceError && error.code === "invalid_parameter") return error.message;
  }
  throw new Error("it should have been an invalid parameter");
}

test("without a secret a configured app is served from its own slot, in its own token mode", () => {
  const directory = setup();
  expect(slotKey(directory.weixinSlot("wx1"))).toBe("weixin:wx1:stable");
  expect(slotKey(directory.weixinSlot("wx2"))).toBe("weixin:wx2:classic");
  const slot = directory.weixinSlot("wx2");
  expect(slot.tokenMode).toBe("classic");
  expect(slot.configured).toBeTrue();
  expect(slot.secret.reveal()).toBe("s2");
});

test("the configured secret leads to the very slot that no secret leads to", () => {
  const directory = setup();
  expect(slotKey(directory.weixinSlot("wx1", "s1"))).toBe(slotKey(directory.weixinSlot("wx1")));
  expect(directory.weixinSlot("wx1", "s1").configured).toBeTrue();
});

test("another secret gets a slot of its own that is asked for by stable token, also of a classic app", () => {
  const slot = setup().weixinSlot("wx2", "another");
  expect(slotKey(slot)).toBe("weixin:wx2:~weixin/wx2/7");
  expect(slot.tokenMode).toBe("stable");
  expect(slot.configured).toBeFalse();
  expect(slot.secret.reveal()).toBe("another");
});

test("an empty secret is a secret that differs, never none", () => {
  expect(setup().weixinSlot("wx1", "").configured).toBeFalse();
});

test("an unknown app is asked for with the caller's secret, and without one the secret is missing", () => {
  const directory = setup();
  expect(directory.weixinSlot("wx9", "s1").configured).toBeFalse();
  expect(directory.weixinSlot("wx9", "s1").appId).toBe("wx9");
  expect(parameterFault(() => directory.weixinSlot("wx9"))).toBe("缺少secret参数");
  expect(parameterFault(() => directory.wecomSlot("ww9"))).toBe("缺少secret参数");
  expect(parameterFault(() => directory.wecomSlot("ww9", undefined, "1"))).toBe("缺少secret参数");
});

test("the secret of one app means nothing for another app", () => {
  expect(setup().weixinSlot("wx1", "s2").configured).toBeFalse();
});

test("one platform's app is not the other's, although the ids are the same", () => {
  const directory = setup({ platform: "wecom", id: "wx1", agent: "1", secret: new Secret("corp") });
  expect(directory.weixinSlot("wx1", "corp").configured).toBeFalse();
  expect(slotKey(directory.wecomSlot("wx1"))).toBe("wecom:wx1:1");
});

test("a corp with exactly one agent needs neither secret nor agentid", () => {
  const slot = setup(agent("1000002", "a")).wecomSlot(CORP);
  expect(slotKey(slot)).toBe("wecom:ww1:1000002");
  expect(slot.configured).toBeTrue();
});

test("a corp with several agents needs a secret or an agentid, and says so", () => {
  const directory = setup(agent("1000002", "a"), agent("contacts", "b"));
  expect(parameterFault(() => directory.wecomSlot(CORP))).toContain("缺少secret参数");
  expect(slotKey(directory.wecomSlot(CORP, undefined, "contacts"))).toBe("wecom:ww1:contacts");
  expect(slotKey(directory.wecomSlot(CORP, "a"))).toBe("wecom:ww1:1000002");
  expect(parameterFault(() => directory.wecomSlot(CORP, undefined, "nobody"))).toBe("缺少secret参数");
});

test("an agentid that agrees with the secret is accepted, one that contradicts it is refused", () => {
  const directory = setup(agent("1000002", "a"), agent("contacts", "b"));
  expect(slotKey(directory.wecomSlot(CORP, "b", "contacts"))).toBe("wecom:ww1:contacts");
  expect(parameterFault(() => directory.wecomSlot(CORP, "b", "1000002"))).toContain("agentid");
  expect(parameterFault(() => directory.wecomSlot(CORP, "b", "nobody"))).toContain("agentid");
});

test("two labels for one secret are told apart by the agentid, and either serves without it", () => {
  const directory = setup(agent("first", "same"), agent("second", "same"));
  expect(slotKey(directory.wecomSlot(CORP, "same", "second"))).toBe("wecom:ww1:second");
  expect(slotKey(directory.wecomSlot(CORP, "same"))).toBe("wecom:ww1:first");
});

test("another secret of a corp gets a slot of its own, whatever the agentid", () => {
  const directory = setup(agent("1000002", "a"));
  for (const named of [undefined, "1000002"]) {
    const slot = directory.wecomSlot(CORP, "another", named);
    expect(slotKey(slot)).toBe("wecom:ww1:~wecom/ww1/7");
    expect(slot.configured).toBeFalse();
  }
});

test("its epoch moves whenever other apps are in place, so that what was worked out of them is known as old", () => {
  const directory = new AppDirectory([], () => "");
  const before = directory.epoch;
  directory.replaceManaged([{ platform: "wecom", id: "ww9", agent: "1", secret: new Secret("s") }]);
  expect(directory.epoch).toBeGreaterThan(before);
});

function managed(id: string, version: number, title = "Shop"): App {
  const management = { title, isDisabled: false, version };
  return { platform: "weixin", id, secret: new Secret(id), tokenMode: "stable", managed: management };
}

test("a slot is one object for as long as its app stays as it is, whatever changes of others", () => {
  const directory = setup(agent("1000002", "a"));
  directory.replaceManaged([managed("wx5", 1), managed("wx6", 2)]);
  const slots = () => ["wx1", "wx5", "wx6"].map((id) => directory.weixinSlot(id));
  const before = slots();
  expect(directory.slotOfApp("wx5")).toBe(before[1] as Slot);
  expect(directory.weixinSlot("wx1", "s1")).toBe(before[0] as Slot);
  expect(directory.wecomSlot(CORP)).toBe(directory.slotOfApp(`${CORP}_1000002`));
  directory.replaceManaged([managed("wx5", 1), managed("wx6", 3, "Other")]);
  const after = slots();
  expect([0, 1, 2].map((n) => after[n] === before[n])).toEqual([true, true, false]);
  expect(directory.size).toBe(5);
});

test("a slot keeps its key, and a copy of it under another name does not", () => {
  const slot = setup().weixinSlot("wx2");
  expect(slot.key).toBe("weixin:wx2:classic");
  expect(slotKey({ ...slot, name: "stable" })).toBe("weixin:wx2:stable");
});

test("P4: an app's secret is opened when its slot is used, so a damaged one fails for its app alone", () => {
  const broken: App = {
    platform: "weixin",
    id: "wx7",
    get secret(): Secret {
      throw new ServiceError("store_unusable", "damaged");
    },
    tokenMode: "stable",
  };
  const directory = setup(broken);
  expect(directory.list({ limit: 9 })).toContain("wx7");
  const slot = directory.weixinSlot("wx7");
  expect(() => slot.secret).toThrow("damaged");
  expect(directory.weixinSlot("wx1").secret.reveal()).toBe("s1");
});

const COMPONENT = "wxc";

function authorizer(id: string, platformApp: string, lostAt?: number): App {
  const authorization = { platformApp, authorizedAt: 1, scopes: [], lostAt };
  const managed = { title: undefined, isDisabled: false, version: 1 };
  return {
    platform: "weixin",
    id,
    secret: new Secret("refresh"),
    tokenMode: "stable",
    authorization,
    managed,
  };
}

test("an account that a platform has is named after both, and found by its AppID alone while nobody else has it", () => {
  const directory = setup(authorizer("wxa", COMPONENT));
  const slot = directory.slotOfApp(`wxa_${COMPONENT}`);
  expect([slotKey(slot), slot.isAuthorized]).toEqual(["weixin:wxa:wxc", true]);
  expect(directory.weixinSlot("wxa")).toBe(slot);
  expect(directory.findSlot("wxa")).toBe(slot);
  expect(directory.slotNamed(slot)).toBe(slot);
  expect(directory.namesOf("weixin", "wxa")).toEqual(["wxa_wxc"]);
  expect(directory.authorizedTo(COMPONENT).map(({ id }) => id)).toEqual(["wxa"]);
});

test("of an account that several platforms have the caller must say which, and an AppID that is held directly wins", () => {
  const directory = setup(
    ...["wxc", "wxd"].flatMap((each) => [authorizer("wxa", each), authorizer("wx1", each)]),
  );
  expect(parameterFault(() => directory.weixinSlot("wxa"))).toContain("wxa_wxc or wxa_wxd");
  expect(directory.find("wxa")).toBeUndefined();
  expect(slotKey(directory.weixinSlot("wxa_wxd"))).toBe("weixin:wxa:wxd");
  expect(slotKey(directory.weixinSlot("wx1"))).toBe("weixin:wx1:stable");
  expect(slotKey(directory.weixinSlot("wx1_wxc"))).toBe("weixin:wx1:wxc");
});

test("nobody gets an account's tokens for its refresh token, and nothing is fetched for a lost one", () => {
  const directory = setup(authorizer("wxa", COMPONENT, 5));
  expect(directory.weixinSlot("wxa", "refresh").configured).toBeFalse();
  expect(directory.weixinSlot("wxa").isDisabled).toBeTrue();
  expect(directory.slotNamed({ platform: "weixin", appId: "wxa", name: COMPONENT })).toBeUndefined();
});

test("what a disabled platform has is closed with it, until it is enabled again", () => {
  const directory = setup();
  const component = (isDisabled: boolean): App => ({
    ...{ platform: "weixin", id: COMPONENT, secret: new Secret("c"), tokenMode: "stable", role: "component" },
    managed: { title: undefined, isDisabled, version: isDisabled ? 2 : 3 },
  });
  const accounts = [authorizer("wxa", COMPONENT), authorizer("wxa", "wxd")];
  directory.replaceManaged([component(false), ...accounts]);
  const slot = () => directory.slotOfApp(`wxa_${COMPONENT}`);
  const [open, elsewhere] = [slot(), directory.slotOfApp("wxa_wxd")];
  directory.replaceManaged([component(true), ...accounts]);
  expect([slot().isDisabled, directory.slotNamed(open)]).toEqual([true, undefined]);
  expect(directory.slotNamed(elsewhere)).toBe(elsewhere);
  directory.replaceManaged([component(false), ...accounts]);
  expect(slot().isDisabled).toBeUndefined();
  expect(directory.slotNamed(open)).toBe(slot());
});

test("a platform is an app of its own, apart from what it has", () => {
  const platform: App = {
    platform: "wecom",
    id: CORP,
    agent: "@provider",
    role: "provider",
    secret: new Secret("p"),
  };
  const directory = setup(platform, agent("1", "s"));
  expect(slotKey(directory.slotOfApp(CORP))).toBe("wecom:ww1:@provider");
  expect(directory.namesOfCorp(CORP)).toEqual(["ww1_1"]);
  expect(slotKey(directory.wecomSlot(CORP))).toBe("wecom:ww1:1");
});

test("an account that is forgotten is not there from then on, but another platform's, and one that was authorized anew", () => {
  const [first, other] = [authorizer("wxa", "wxc"), authorizer("wxa", "wxd")];
  const directory = setup(first, other);
  const { epoch, size } = directory;
  directory.forget({ ...first, managed: { title: undefined, isDisabled: false, version: 0 } });
  expect(directory.find("wxa_wxc")).toBe(first);
  directory.forget(first);
  expect(directory.find("wxa_wxc")).toBeUndefined();
  expect(slotKey(directory.slotOfApp("wxa"))).toBe("weixin:wxa:wxd");
  expect([directory.size, directory.sorted().length]).toEqual([size - 1, size - 1]);
  expect(directory.epoch).toBeGreaterThan(epoch);
});
