import { expect, test } from "bun:test";
import { isAppVariable, readEnvironmentApps } from "../../src/apps/environment-apps.ts";

function setup(variables: Record<string, string>, mode: "stable" | "classic" = "stable") {
  const { apps, faults } = readEnvironmentApps(variables, mode);
  return {
    apps: apps.map((app) => ({ ...app, secret: app.secret.reveal() })),
    faults: faults.map(({ name }) => name),
    reasons: faults.map(({ reason }) => reason).join("\n"),
  };
}

test("WEIXIN_SECRET_<appid> names an app, and THIRD_APPID_<appid> does the same", () => {
  const { apps, faults } = setup({ WEIXIN_SECRET_wx1: "one", THIRD_APPID_wx2: "two" });
  expect(faults).toEqual([]);
  expect(apps).toEqual([
    { platform: "weixin", id: "wx1", secret: "one", tokenMode: "stable" },
    { platform: "weixin", id: "wx2", secret: "two", tokenMode: "stable" },
  ]);
});

test("both names for one appid are one app while they agree, and a fault when they differ", () => {
  expect(setup({ WEIXIN_SECRET_wx1: "one", THIRD_APPID_wx1: "one" }).apps).toHaveLength(1);
  const { faults, reasons } = setup({ WEIXIN_SECRET_wx1: "one", THIRD_APPID_wx1: "two" });
  expect(faults).toEqual(["THIRD_APPID_wx1"]);
  expect(reasons).not.toContain("two");
});

test("the token mode of one app wins over the default, whatever the order of the lines", () => {
  const modes = (variables: Record<string, string>) =>
    setup(variables, "classic").apps.map((app) => app.platform === "weixin" && app.tokenMode);
  expect(modes({ WEIXIN_TOKEN_MODE_wx1: "stable", WEIXIN_SECRET_wx1: "a", WEIXIN_SECRET_wx2: "b" })).toEqual([
    "stable",
    "classic",
  ]);
  expect(modes({ WEIXIN_SECRET_wx1: "a", WEIXIN_TOKEN_MODE_wx1: "stable" })).toEqual(["stable"]);
});

test("a token mode that is neither stable nor classic, or of an app without a secret, is a fault", () => {
  expect(setup({ WEIXIN_SECRET_wx1: "a", WEIXIN_TOKEN_MODE_wx1: "Stable" }).faults).toEqual([
    "WEIXIN_TOKEN_MODE_wx1",
  ]);
  expect(setup({ WEIXIN_TOKEN_MODE_wx1: "stable" }).faults).toEqual(["WEIXIN_TOKEN_MODE_wx1"]);
});

test("WECOM_SECRET_<corpid>_<agent> names an agent by its id or by any label", () => {
  const { apps } = setup({ WECOM_SECRET_ww1_1000002: "a", WECOM_SECRET_ww1_contacts: "b" });
  expect(apps).toEqual([
    { platform: "wecom", id: "ww1", agent: "1000002", secret: "a" },
    { platform: "wecom", id: "ww1", agent: "contacts", secret: "b" },
  ]);
});

test("a corpid with an underscore or a hyphen keeps it: the agent is what follows the last underscore", () => {
  const { apps } = setup({ "WECOM_SECRET_ww_a-b_7": "a" });
  expect(apps).toEqual([{ platform: "wecom", id: "ww_a-b", agent: "7", secret: "a" }]);
});

test("an empty, blank, overlong or unprintable secret is a fault that does not quote it", () => {
  for (const value of ["", " ", "with blank", "ctrl\u0001x", "中文", "x".repeat(513)]) {
    for (const name of ["WEIXIN_SECRET_wx1", "WECOM_SECRET_ww1_7"]) {
      const { apps, faults, reasons } = setup({ [name]: value });
      expect(faults).toEqual([name]);
      expect(apps).toEqual([]);
      if (value.trim() !== "") expect(reasons).not.toContain(value);
    }
  }
});

test("names that only look alike are not apps", () => {
  for (const name of [
    "WEIXIN_SECRET_",
    "WEIXIN_SECRETS_wx1",
    "WECOM_SECRET_ww1",
    "weixin_secret_wx1",
    "PATH",
  ])
    expect(isAppVariable(name)).toBeFalse();
  expect(setup({ PATH: "/bin", WEIXIN_SECRET_: "x" }).apps).toEqual([]);
});
