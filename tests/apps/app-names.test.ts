import { expect, test } from "bun:test";
import { type App, slotKey } from "../../src/apps/app.ts";
import { AppDirectory, firstBehind } from "../../src/apps/app-directory.ts";
import { Secret } from "../../src/secret.ts";

const secret = new Secret("secret");

function weixin(id: string): App {
  return { platform: "weixin", id, secret, tokenMode: "classic" };
}

function wecom(id: string, agent: string): App {
  return { platform: "wecom", id, agent, secret };
}

function directoryOf(...apps: App[]) {
  return new AppDirectory(apps, () => "digest");
}

test("an app is found by its public name, also in a corp whose CorpID has underscores", () => {
  const directory = directoryOf(weixin("wx1"), wecom("ww_1", "2"), wecom("ww", "1"), wecom("ww", "contacts"));
  const keyOf = (name: string) => slotKey(directory.slotOfApp(name));
  expect(keyOf("wx1")).toBe("weixin:wx1:classic");
  expect(keyOf("ww_1_2")).toBe("wecom:ww_1:2");
  expect(keyOf("ww_1")).toBe("wecom:ww:1");
  expect(keyOf("ww_contacts")).toBe("wecom:ww:contacts");
});

test.each(["", "_", "wx", "wx1_", "wx1_1", "ww", "ww_", "ww_3", "_1", "constructor", "__proto__"])(
  "no app is found by %p",
  (name) => {
    const directory = directoryOf(weixin("wx1"), wecom("ww", "1"));
    expect(() => directory.slotOfApp(name)).toThrow(expect.objectContaining({ code: "not_found" }));
  },
);

test("names are listed in their order, and found from behind any text on", () => {
  const directory = directoryOf(
    weixin("wxB"),
    weixin("wxa"),
    weixin("wxA"),
    wecom("ww", "9"),
    wecom("ww", "10"),
  );
  expect(directory.list({ limit: 9 })).toEqual(["ww_10", "ww_9", "wxA", "wxB", "wxa"]);
  expect(directory.list({ limit: 2 })).toEqual(["ww_10", "ww_9"]);
  const places = ["", "ww_9", "wxAA", "wxa"].map((text) => firstBehind(directory.sorted(), text));
  expect(places).toEqual([0, 2, 3, 5]);
  expect(directoryOf().list({ limit: 2 })).toEqual([]);
});
